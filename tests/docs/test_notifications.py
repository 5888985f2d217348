"""docs/guide/notifications.md is run as it stands; the mail server and the webhook are real ones of this test."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from support.pages import run_page


class Mail(socketserver.StreamRequestHandler):
    """As much of SMTP (RFC 5321) as a client needs that delivers a message; it is appended to `place`/bob.mail."""

    def handle(self) -> None:
        self._say("220 here")
        while line := self.rfile.readline().decode().strip():
            match line.split()[0].upper():
                case "DATA":
                    self._say("354 go on")
                    body = b"".join(iter(self.rfile.readline, b".\r\n"))
                    with (self.server.place / "bob.mail").open("ab") as file:  # type: ignore[attr-defined]
                        file.write(body)
                    self._say("250 taken")
                case "QUIT":
                    self._say("221 bye")
                    return
                case _:
                    self._say("250 ok")

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


class Hook(BaseHTTPRequestHandler):
    """Takes JSON; its title is appended to `place`/<path>.hook."""

    def do_POST(self) -> None:
        said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with (self.server.place / f"{self.path.strip('/')}.hook").open("a") as file:  # type: ignore[attr-defined]
            file.write(said["title"] + "\n")
        self.send_response(204)
        self.end_headers()

    def log_message(self, *said: object) -> None:
        pass


@contextmanager
def receiving(server: socketserver.TCPServer, place: Path) -> Iterator[str]:
    """Serve until the block ends; gives the port."""
    server.place = place  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield str(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.timeout(240)
def test_people_are_told_as_it_is_written(tmp_path: Path) -> None:
    place = tmp_path / "a directory with spaces"
    with ExitStack() as stack:
        mail = stack.enter_context(receiving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mail), place))
        hook = stack.enter_context(receiving(ThreadingHTTPServer(("127.0.0.1", 0), Hook), place))
        said = run_page(
            "guide/notifications.md", tmp_path, changed={":2525": f":{mail}", ":8025": f":{hook}"}, timeout_s=200
        )
    for words in ("ada asks", "bob approved", "ada asks urgently", "bob denied", "security-pager"):
        assert words in said, f"{words}\n\n{said}"
    letter = (place / "bob.mail").read_text()
    assert "To: bob@acme.example" in letter.replace("<", "").replace(">", "")
    assert "<b>" not in letter
