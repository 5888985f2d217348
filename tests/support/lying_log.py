"""Stand before a lab's log service as its attacker would: pass on what it says, and lie where the test says so.

    with lying(lab.lab, lambda method, path, body: b'{"index":0}' if path == "/submit" else None):
        ...                                     # everybody finds the liar at run/service.json; None passes the request on

A `KeyturnError` that the lie raises becomes that error's answer.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import urllib3

__all__ = ["Lie", "lying", "serving_lies"]

Lie = Callable[[str, str, bytes], bytes | int | None]
"""(method, path, body) -> the body of an answer, an HTTP status without one, or None for what the real service says."""


@contextmanager
def serving_lies(real: str, lie: Lie) -> Iterator[str]:
    """Serve at the URL that is given, in front of the service at `real`."""
    pool = urllib3.PoolManager(retries=False)

    class Liar(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(b"")

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers.get("Content-Length", "0"))))

        def _answer(self, body: bytes) -> None:
            said = lie(self.command, self.path, body)
            if said is None:
                answer = pool.request(self.command, real + self.path, body=body or None)
                status, content = answer.status, answer.data
            else:
                status, content = (said, b"") if isinstance(said, int) else (200, said)
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Liar)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        pool.clear()


@contextmanager
def lying(lab: Path, lie: Lie) -> Iterator[str]:
    """Stand at the place of the service of the lab in `lab`, for everybody who looks it up."""
    place = lab / "run" / "service.json"
    honest = place.read_bytes()
    with serving_lies(json.loads(honest)["url"], lie) as url:
        place.write_text(json.dumps({"pid": os.getpid(), "url": url}))
        try:
            yield url
        finally:
            place.write_bytes(honest)
