"""A place that takes notifications over HTTP, as apprise's `json://` sends them: a real server, which can refuse and can hang."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from support.processes import wait_for

__all__ = ["Inbox", "inbox"]


class Inbox:
    """What was given to `/name` of one server, oldest first. `status` by name: 500 refuses, 0 hangs until the server stops,
    1 answers without end, as fast as it can, and 2 a byte now and then."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.status: dict[str, int] = {}
        self.tries: dict[str, int] = {}
        self.stopped = threading.Event()
        self._got: dict[str, list[dict[str, Any]]] = {}
        self._lock = threading.Lock()

    def url(self, name: str) -> str:
        return f"json://127.0.0.1:{self.port}/{name}"

    def take(self, name: str, body: dict[str, Any]) -> int:
        with self._lock:
            self.tries[name] = self.tries.get(name, 0) + 1
            status = self.status.get(name, 200)
            if status == 200:
                self._got.setdefault(name, []).append(body)
        if status == 0:
            self.stopped.wait()
        return status or 500

    def titles(self, name: str) -> list[str]:
        with self._lock:
            return [str(one["title"]) for one in self._got.get(name, [])]

    def wait_for(self, name: str, text: str) -> dict[str, Any]:
        """Wait until something whose title contains `text` was given to `name`."""

        def found() -> dict[str, Any] | None:
            with self._lock:
                return next((one for one in self._got.get(name, []) if text in one["title"]), None)

        return wait_for(f"`{text}` at `{name}`, which got {self.titles(name)}", found)


@contextmanager
def inbox() -> Iterator[Inbox]:
    """Serve an inbox on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status = box.take(self.path.strip("/"), body)
            if status in (1, 2):
                self.send_response(200)
                self.end_headers()
                with suppress(OSError):
                    while not box.stopped.wait(0.5 if status == 2 else 0):
                        self.wfile.write(b"x" if status == 2 else b"x" * (1 << 20))
                return
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    box = Inbox(server.server_port)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield box
    finally:
        box.stopped.set()
        server.shutdown()
        server.server_close()
        thread.join()
