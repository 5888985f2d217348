"""Speak HTTP to a lab's processes: bounded answers, timeouts, and a server's error as one of ours.

With `bearer`, each request carries the token that it gives at that moment: a login, which decides nothing (`login_files`).

An answer is never believed: the caller verifies what it gets. A server's words are shown to people only after `cli.output.plain`.
"""

from __future__ import annotations

from collections.abc import Callable

from keyturn.adapters import errors_over_http
from keyturn.adapters.bounded_http import BoundedHttp, TooLate, TooLong
from keyturn.errors import Conflict, KeyturnError, Malformed, Refused, Unavailable

__all__ = ["HttpClient"]

_ANSWER_BYTES_MAX = 64 << 20


class HttpClient:
    """A client of one server. Thread-safe; connections are kept. `timeout_s` bounds each exchange as a whole."""

    def __init__(self, url: str, *, timeout_s: float = 30.0, bearer: Callable[[], str | None] | None = None) -> None:
        self._http = BoundedHttp(url, within_s=timeout_s, connections=8)
        self.url = self._http.url
        self._bearer = bearer

    def get(self, path: str, *, size_bytes_max: int = _ANSWER_BYTES_MAX) -> bytes:
        """GET `path`; `Unavailable` when there is no answer, the server's own error otherwise."""
        return self._send("GET", path, None, size_bytes_max)

    def post(self, path: str, body: bytes, *, size_bytes_max: int = _ANSWER_BYTES_MAX) -> bytes:
        """POST `body` to `path`; nothing is tried twice."""
        return self._send("POST", path, body, size_bytes_max)

    def _send(self, method: str, path: str, body: bytes | None, size_bytes_max: int) -> bytes:
        token = self._bearer() if self._bearer is not None else None
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        try:
            status, content = self._http.exchange(method, path, body, size_bytes_max=size_bytes_max, headers=headers)
        except TooLong as err:
            raise Malformed("answer-too-large", f"`{path}`: expected at most {size_bytes_max} bytes") from err
        except TooLate as err:
            raise Unavailable(
                "no-answer", f"no answer from `{self.url}{path}`", hint="keyturn up", detail=str(err)
            ) from err
        if 200 <= status < 300:
            return content
        raise _error(status, f"{self.url}{path}", content)


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
