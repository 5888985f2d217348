"""Serve the signing page on this machine for one task, and sign records with a passkey through it.

The page (`keyturn/web/sign_page`) shows what is signed from its bytes and computes the challenge itself; what comes back is
verified here before it goes anywhere. One server lives for one task, at the port that the roster pins for `localhost`, on both
addresses of that name: else another user of the machine could listen on the one that browsers try first, and his page would
be of the pinned origin. It answers nobody whose Host is another name (DNS rebinding), who does not know the path's random token,
or who posts from another origin. Nothing that the log's service serves runs in this origin.

This is NOT what makes a signature count: gates verify it by the roster (`crypto.webauthn`).
"""

from __future__ import annotations

import errno
import hmac
import re
import secrets
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import ClassVar, Final

import msgspec

from keyturn.crypto import webauthn as verifier
from keyturn.crypto.credentials import Credential
from keyturn.crypto.keys import PublicKey
from keyturn.errors import Malformed, Refused, Unavailable, Usage
from keyturn.formats import access, base64_text, canonical_json, dsse, statement, webauthn

__all__ = ["ANSWER_WITHIN_S", "CSP", "PasskeySigner", "Task", "answer_to", "open_in_browser", "page_file"]

ANSWER_WITHIN_S: Final = 300.0
"""A person reads a request whole, and finds his passkey."""

CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_FILES: Final = {
    "": ("index.html", "text/html; charset=utf-8"),
    "sign.js": ("sign.js", "text/javascript; charset=utf-8"),
    "style.css": ("style.css", "text/css; charset=utf-8"),
}
_VERDICTS: Final = frozenset({"answer", "decline", "refuse", "closed"})
_BODY_BYTES_MAX = 64 * 1024
_CLIENT_WITHIN_S = 10.0
_NO_SUCH_ADDRESS = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
"""This machine has no IPv6."""
_LOCAL = re.compile(r"http://localhost:([1-9][0-9]{0,4})\Z", re.ASCII)

RequestOf = Callable[[str], bytes | None]
"""The payload of the request with this SHA-256, or None: an authorization is not shown, and not signed, without it."""


class Task(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the page shows and signs; base64. `request` comes with an authorization, `credential` with every record."""

    purpose: webauthn.Purpose
    payload: str
    rp_id: str
    request: str | None = None
    credential: str | None = None


@dataclass
class _Outcome:
    """What the page said, once."""

    done: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    verdict: str = ""
    body: bytes = b""

    def take(self, verdict: str, body: bytes) -> bool:
        with self.lock:
            if self.verdict:
                return False
            self.verdict, self.body = verdict, body
            return True


class PasskeySigner:
    """`RecordSigner` by a passkey: shows each record on the page before it is signed, an authorization with its request."""

    def __init__(
        self,
        credential: Credential,
        *,
        request_of: RequestOf,
        open_page: Callable[[str], None],
        within_s: float = ANSWER_WITHIN_S,
    ) -> None:
        assert credential.party is not None  # a passkey has one
        self._credential = credential
        self._rp_id = credential.party.id
        self._origin = _local_origin(credential.party.origins)
        self._request_of = request_of
        self._open_page = open_page
        self._within_s = within_s
        self.public: PublicKey = credential.key

    def sign_record(self, message: bytes) -> bytes:
        payload = _payload_of(message)
        task = Task(
            purpose="record",
            payload=base64_text.encode(payload),
            request=self._request_for(payload),
            rp_id=self._rp_id,
            credential=self._credential.id,
        )
        raw = answer_to(task, origin=self._origin, open_page=self._open_page, within_s=self._within_s)
        signature = verifier.canonical(webauthn.parse(raw), self.public)
        self._credential.verify(signature, message, user_verified=True)
        return signature

    def _request_for(self, payload: bytes) -> str | None:
        if statement.peek(payload) != access.HUMAN_AUTHORIZATION:
            return None
        about = statement.parse(payload, access.HumanAuthorization, access.HUMAN_AUTHORIZATION).predicate.request
        request = self._request_of(about)
        if request is None:
            raise Unavailable(
                "request-unread", f"the request `{about[:16]}` could not be had, and is signed for by nobody"
            )
        return base64_text.encode(request)


def answer_to(task: Task, *, origin: str, open_page: Callable[[str], None], within_s: float) -> bytes:
    """Serve the page for `task` at `origin`, have it opened, and return what it posts.

    Raises `Refused` when the person or the page declines, `Unavailable` when it is closed or nobody answers in time.
    """
    found = _LOCAL.match(origin)
    if found is None:
        raise Usage("signing-page-elsewhere", f"`{origin}` is no page that this machine can serve")
    outcome, token = _Outcome(), secrets.token_urlsafe(24)
    handler = _handler(canonical_json.encode(task), origin=origin, token=token, outcome=outcome)
    with ExitStack() as stack:
        for server in _listening(int(found[1]), handler, origin, stack):
            stack.callback(server.shutdown)
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        open_page(f"{origin}/{token}/")
        outcome.done.wait(within_s)
    return _said(outcome)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a browser hung up."""


class _Server6(_Server):
    address_family: int = socket.AF_INET6


def _listening(
    port: int, handler: type[BaseHTTPRequestHandler], origin: str, stack: ExitStack
) -> list[ThreadingHTTPServer]:
    """A server at each address of `localhost` that this machine has; none when anybody else listens at one of them."""
    servers: list[ThreadingHTTPServer] = []
    for kind, address in ((_Server, "127.0.0.1"), (_Server6, "::1")):
        try:
            server = kind((address, port), handler)
        except (OSError, OverflowError) as err:
            if kind is _Server6 and isinstance(err, OSError) and err.errno in _NO_SUCH_ADDRESS:
                continue
            raise Unavailable(
                "signing-page-port",
                f"the signing page cannot be served at `{origin}` ({address}): {err}",
                hint="another command may be waiting for its passkey there: finish or stop it first",
            ) from err
        stack.callback(server.server_close)
        servers.append(server)
    return servers


def open_in_browser(url: str) -> None:
    """Print where the page is, and open it in the person's browser if there is one."""
    sys.stderr.write(f"sign with your passkey at {url}\n")
    sys.stderr.flush()
    webbrowser.open(url)


def page_file(name: str) -> bytes:
    """One of the page's static files."""
    return files("keyturn").joinpath("web", "sign_page", name).read_bytes()


def _said(outcome: _Outcome) -> bytes:
    match outcome.verdict:
        case "answer":
            return outcome.body
        case "decline":
            raise Usage(
                "not-confirmed",
                "you declined on the signing page, and nothing was signed",
                hint="run it again to sign it",
            )
        case "refuse":
            raise Refused(
                "signing-page-refused",
                "the signing page refused what it was given: it says why",
                hint="do not sign it elsewhere: what was to be shown is not what was to be signed",
            )
        case "closed":
            raise Unavailable(
                "signing-page-closed", "the signing page was closed before anything was signed", hint="run it again"
            )
        case _:
            raise Unavailable(
                "signing-page-timeout",
                "nobody signed on the signing page in time",
                hint="run it again; the page must stay open",
            )


def _local_origin(origins: frozenset[str]) -> str:
    local = sorted(origin for origin in origins if _LOCAL.match(origin))
    if not local:
        raise Usage(
            "signing-page-elsewhere",
            "this passkey signs on a page that this machine does not serve",
            hint="a [[signing]] page with origin http://localhost:PORT in roster.toml, or another key: --key",
        )
    return local[0]


def _payload_of(message: bytes) -> bytes:
    parts = message.split(b" ", 4)
    if len(parts) != 5 or dsse.pae(dsse.IN_TOTO, parts[4]) != message:
        raise Malformed("record-encoding", "expected the DSSE encoding of an in-toto statement")
    return parts[4]


def _handler(task: bytes, *, origin: str, token: str, outcome: _Outcome) -> type[BaseHTTPRequestHandler]:
    host = origin.removeprefix("http://")

    class Page(BaseHTTPRequestHandler):
        timeout: ClassVar[float | None] = _CLIENT_WITHIN_S
        server_version, sys_version = "keyturn", ""

        def do_GET(self) -> None:  # noqa: N802  # http.server's own name
            name = self._name()
            if name == "task":
                self._answer(200, task, "application/json")
            elif name in _FILES:
                file, kind = _FILES[name]
                self._answer(200, page_file(file), kind)
            else:
                self._answer(404)

        def do_POST(self) -> None:  # noqa: N802  # likewise
            self._answer(self._taken(self._name()))
            if outcome.verdict:
                outcome.done.set()

        def _taken(self, name: str | None) -> int:
            """Take what was posted if it is the page's; the status to answer with."""
            if name is None or name not in _VERDICTS:
                return 404
            if self.headers.get_all("Origin") != [origin]:
                return 403
            length = self.headers.get("Content-Length", "")
            if not re.fullmatch(r"[0-9]{1,7}", length, re.ASCII) or int(length) > _BODY_BYTES_MAX:
                return 413
            body = self.rfile.read(int(length))
            return 204 if len(body) == int(length) and outcome.take(name, body) else 409

        def _name(self) -> str | None:
            """What is asked for below the token, or None for whoever has not been given it or came by another host name."""
            if self.headers.get_all("Host") != [host]:
                return None
            found = re.fullmatch(r"/([A-Za-z0-9_-]{1,64})/([a-z.]{0,20})", self.path, re.ASCII)
            return found[2] if found is not None and hmac.compare_digest(found[1], token) else None

        def _answer(self, status: int, body: bytes = b"", kind: str = "text/plain") -> None:
            self.send_response(status)
            headers = {
                "Content-Security-Policy": CSP,
                "Content-Type": kind,
                "Content-Length": str(len(body)),
                "Cache-Control": "no-store",
                "Cross-Origin-Opener-Policy": "same-origin",
                "Cross-Origin-Resource-Policy": "same-origin",
                "Referrer-Policy": "same-origin",
                "X-Content-Type-Options": "nosniff",
                "X-Frame-Options": "DENY",
            }
            for header, value in headers.items():
                self.send_header(header, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # http.server's own name
            """Say nothing: the token is in the paths."""

    return Page
