"""Speak HTTP to a lab's processes: bounded answers, timeouts, and a server's error as one of ours.

With `credentials`, each exchange shows the token and the certificate that they give at that moment: a login, which decides
nothing (`login_files`, `client_certificate`).

An answer is never believed: the caller verifies what it gets. A server's words are shown to people only after `cli.output.plain`.
"""

from __future__ import annotations

import re
import ssl
from typing import Protocol

from keyturn.adapters.over_http import errors_over_http
from keyturn.adapters.over_http.bounded_http import BoundedHttp, TlsFailed, TooLate, TooLong
from keyturn.errors import Conflict, KeyturnError, Malformed, Refused, Unavailable

__all__ = ["Credentials", "HttpClient"]

_ANSWER_BYTES_MAX = 64 << 20
_REFUSED = re.compile(
    r"ALERT_((BAD|UNSUPPORTED)_CERTIFICATE|CERTIFICATE_(EXPIRED|REVOKED|UNKNOWN)|UNKNOWN_CA|DECRYPT_ERROR)\Z"
)
"""What a server that does not accept a client's certificate ends the handshake with (RFC 8446, section 6.2)."""


class Credentials(Protocol):
    """What a client shows one service of itself; asked for each exchange."""

    def token(self) -> str | None:
        """A token to send, if there is one; `Unavailable` when the login is over."""

    def certificate(self) -> ssl.SSLContext | None:
        """TLS with a client certificate, if there is one: the same object as long as it is the same certificate."""


class HttpClient:
    """A client of one server. Thread-safe; connections are kept. `timeout_s` bounds each exchange as a whole."""

    def __init__(self, url: str, *, timeout_s: float = 30.0, credentials: Credentials | None = None) -> None:
        self._http = BoundedHttp(url, within_s=timeout_s, connections=8)
        self.url = self._http.url
        self._credentials = credentials

    def get(self, path: str, *, size_bytes_max: int = _ANSWER_BYTES_MAX) -> bytes:
        """GET `path`; `Unavailable` when there is no answer, the server's own error otherwise."""
        return self._send("GET", path, None, size_bytes_max)

    def post(self, path: str, body: bytes, *, size_bytes_max: int = _ANSWER_BYTES_MAX) -> bytes:
        """POST `body` to `path`; nothing is tried twice."""
        return self._send("POST", path, body, size_bytes_max)

    def _send(self, method: str, path: str, body: bytes | None, size_bytes_max: int) -> bytes:
        shown = self._credentials
        token, tls = (shown.token(), shown.certificate()) if shown is not None else (None, None)
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        try:
            status, content = self._http.exchange(
                method, path, body, size_bytes_max=size_bytes_max, headers=headers, tls=tls
            )
        except TooLong as err:
            raise Malformed("answer-too-large", f"`{path}`: expected at most {size_bytes_max} bytes") from err
        except TlsFailed as err:
            raise _of_tls(err.cause, self.url) from err
        except TooLate as err:
            raise Unavailable(
                "no-answer",
                f"no answer from `{self.url}{path}`",
                hint="look at the address; keyturn up, where it runs",
                detail=str(err),
            ) from err
        if 200 <= status < 300:
            return content
        raise _error(status, f"{self.url}{path}", content)


def _of_tls(cause: ssl.SSLError, url: str) -> Unavailable:
    reason = cause.reason or ""
    if isinstance(cause, ssl.SSLCertVerificationError):
        return Unavailable(
            "server-certificate",
            f"the certificate of `{url}` does not verify: {cause.verify_message}",
            hint="where it is of a CA of your own, set SSL_CERT_FILE to a file with that CA's certificate",
        )
    if reason.endswith("CERTIFICATE_REQUIRED"):
        return Unavailable(
            "login-needed",
            f"`{url}` is for who shows a certificate",
            hint="keyturn login --certificate FILE --certificate-key FILE",
        )
    if _REFUSED.search(reason):
        why = reason.rpartition("ALERT_")[2].lower().replace("_", " ")
        return Unavailable(
            "login-certificate-refused",
            f"`{url}` refuses your certificate: {why}",
            hint="keyturn login --certificate FILE --certificate-key FILE, with one of the CA that whoever runs it names",
        )
    return Unavailable(
        "no-answer",
        f"no answer from `{url}`: TLS failed",
        hint="look at the address; keyturn up, where it runs",
        detail=str(cause),
    )


def _error(status: int, url: str, content: bytes) -> KeyturnError:
    said = errors_over_http.parse(content)
    if said is not None:
        return errors_over_http.as_raised(said)
    message = f"`{url}` answered HTTP {status}"
    match status:
        case 401:
            return Unavailable("login-needed", f"`{url}` is for who is logged in: HTTP 401", hint="keyturn login")
        case 403:
            return Refused("http-error", message)
        case 409:
            return Conflict("http-error", message)
        case 400 | 413:
            return Malformed("http-error", message)
        case 404:
            return Unavailable("not-found", f"`{url}` is not there")
        case _:
            return Unavailable("http-error", message)
