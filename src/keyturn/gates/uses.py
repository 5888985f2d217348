"""The uses that a gate for sessions signed: kept before anybody is told, and brought to the log as soon as that takes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from keyturn.errors import KeyturnError, Refused
from keyturn.ports import LogWriter

__all__ = ["UseJournal", "log_what_waits"]


class UseJournal(Protocol):
    """The uses that a gate signed, by the digest of the grant. Each write outlives this process and a loss of power when it
    returns; or `Unavailable`, and nothing is kept."""

    def is_used(self, grant: str) -> bool:
        """Whether a use of the grant with this digest was kept, logged or not."""

    def keep_use(self, grant: str, envelope: bytes) -> None:
        """Keep what the log is to be told of the use of a grant: once for each."""

    def waiting(self) -> Sequence[tuple[str, bytes]]:
        """The uses that are not logged yet, by the digest of the grant."""

    def logged(self, grant: str) -> None:
        """The use of this grant is in the log, and waits no longer."""


def log_what_waits(journal: UseJournal, writer: LogWriter, say: Callable[[str, str, KeyturnError | None], None]) -> int:
    """Log the uses that wait for it; gives how many those were. Raises as the log does; what it refuses is said, and waits."""
    waiting = journal.waiting()
    for grant, envelope in waiting:
        try:
            writer.append(envelope)
        except Refused as err:
            say("use-refused", f"the log refuses the use of {grant[:32]}", err)
            continue
        journal.logged(grant)
    return len(waiting)
