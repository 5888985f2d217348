"""The lab's log for processes that outlive its service: found anew at each call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from keyturn.adapters.over_http.log_over_http import LogOverHttp
from keyturn.errors import KeyturnError, Unavailable
from keyturn.formats.digest import Sha256
from keyturn.wiring.lab.credentials import credentials_for

__all__ = ["FoundLog"]


class FoundLog:
    """The lab's service for a process that outlives it: looked up for each call, as one that starts again moves.

    Where the service asks for a login and the process has none, that is said as its own operator's concern: whoever brought it an
    order would otherwise log in himself, in vain.
    """

    def __init__(self, find: Callable[[], str | None]) -> None:
        self._find = find
        self._known: tuple[str, LogOverHttp] | None = None

    def checkpoint(self) -> bytes:
        with self._let_in() as log:
            return log.checkpoint()

    def leaves(self, start: int, end: int) -> Sequence[bytes]:
        with self._let_in() as log:
            return log.leaves(start, end)

    def hashes(self, level: int, start: int, end: int) -> Sequence[bytes]:
        with self._let_in() as log:
            return log.hashes(level, start, end)

    def envelope(self, digest: Sha256) -> bytes:
        with self._let_in() as log:
            return log.envelope(digest)

    def append(self, envelope: bytes) -> int:
        with self._let_in() as log:
            return log.append(envelope)

    @contextmanager
    def _let_in(self) -> Iterator[LogOverHttp]:
        log = self._log()
        try:
            yield log
        except KeyturnError as err:
            if not err.code.startswith("login-"):
                raise
            raise Unavailable(
                "process-not-logged-in",
                f"the log does not let this process in: {err.message} ({err.code})",
                hint=f"whoever runs the process, with its KEYTURN_HOME: {err.hint or 'keyturn login'}",
            ) from err

    def _log(self) -> LogOverHttp:
        url = self._find()
        if url is None:
            raise Unavailable("process-not-running", "the lab's service does not run here", hint="keyturn up")
        known = self._known
        if known is None or known[0] != url:
            known = self._known = (url, LogOverHttp(url, credentials=credentials_for(url)))
        return known[1]
