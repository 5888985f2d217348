"""Take what the signing page says, once: a small server on this machine that answers the page of one task, and nobody else.

It answers nobody whose Host is another name (DNS rebinding), who does not know the path's random token, or who posts from another
origin than the page's.
"""

from __future__ import annotations

import hmac
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import ClassVar, Final

from keyturn.adapters.sign_page.task import Outcome

__all__ = ["CSP", "FORGET", "Door", "PageServer", "handler", "serve"]

CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
FORGET: Final = "forget"
"""The name below the token at which a browser is told to forget all that it keeps of the origin."""
_NOTHING_MORE: Final[Mapping[str, str]] = MappingProxyType({})
_FORGETTING: Final = MappingProxyType(
    {"Clear-Site-Data": '"cache", "storage"', "Cross-Origin-Resource-Policy": "same-site"}
)
_VERDICTS: Final = frozenset({"answer", "decline", "refuse", "closed"})
_BODY_BYTES_MAX = 64 * 1024
_CLIENT_WITHIN_S = 10.0

Content = tuple[bytes, str]
"""A body and its media type."""


@dataclass(frozen=True, slots=True)
class Door:
    """Who is answered: a request for `host` below `token`; posts from the page's `origin` alone, which set `outcome`.

    `csp` is what the pages behind it may load."""

    host: str
    token: str
    origin: str
    outcome: Outcome
    csp: str = CSP


class PageServer(ThreadingHTTPServer):
    """Serves one page on one address."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a browser hung up."""


def serve(servers: Iterable[PageServer], stack: ExitStack) -> None:
    """Let `servers` answer until `stack` ends."""
    for server in servers:
        stack.callback(server.shutdown)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()


def handler(
    door: Door,
    *,
    page: Callable[[str], Content | None],
    said: Callable[[bytes], bytes] = lambda body: body,
    thanks: Callable[[str], Content | None] = lambda verdict: None,
) -> type[BaseHTTPRequestHandler]:
    """Answer GET with what `page` has under a name; take a post's body as `said` reads it; `thanks` is what its poster sees."""

    class Answering(BaseHTTPRequestHandler):
        timeout: ClassVar[float | None] = _CLIENT_WITHIN_S
        server_version, sys_version = "keyturn", ""

        def do_GET(self) -> None:  # noqa: N802  # http.server's own name
            name = self._name()
            found = None if name is None else page(name)
            if found is None:
                self._answer(404)
            else:
                self._answer(200, *found, more=_FORGETTING if name == FORGET else _NOTHING_MORE)

        def do_POST(self) -> None:  # noqa: N802  # likewise
            name = self._name()
            status = self._taken(name)
            shown = thanks(name or "") if status == 204 else None
            if shown is None:
                self._answer(status)
            else:
                self._answer(200, *shown)
            if door.outcome.verdict:
                door.outcome.done.set()

        def _taken(self, name: str | None) -> int:
            """Take what was posted if it is the page's; the status to answer with."""
            if name is None or name not in _VERDICTS:
                return 404
            if self.headers.get_all("Origin") != [door.origin]:
                return 403
            length = self.headers.get("Content-Length", "")
            if not re.fullmatch(r"[0-9]{1,7}", length, re.ASCII) or int(length) > _BODY_BYTES_MAX:
                return 413
            body = self.rfile.read(int(length))
            return 204 if len(body) == int(length) and door.outcome.take(name, said(body)) else 409

        def _name(self) -> str | None:
            """What is asked for below the token, or None for whoever has not been given it or came by another host name."""
            if self.headers.get_all("Host") != [door.host]:
                return None
            found = re.fullmatch(r"/([A-Za-z0-9_-]{1,64})/([a-z.]{0,20})", self.path, re.ASCII)
            return found[2] if found is not None and hmac.compare_digest(found[1], door.token) else None

        def _answer(
            self, status: int, body: bytes = b"", kind: str = "text/plain", *, more: Mapping[str, str] = _NOTHING_MORE
        ) -> None:
            self.send_response(status)
            headers = {
                "Content-Security-Policy": door.csp,
                "Content-Type": kind,
                "Content-Length": str(len(body)),
                "Cache-Control": "no-store",
                "Cross-Origin-Opener-Policy": "same-origin",
                "Cross-Origin-Resource-Policy": "same-origin",
                "Referrer-Policy": "same-origin",
                "X-Content-Type-Options": "nosniff",
                "X-Frame-Options": "DENY",
            }
            for header, value in (headers | dict(more)).items():
                self.send_header(header, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # http.server's own name
            """Say nothing: the token is in the paths."""

    return Answering
