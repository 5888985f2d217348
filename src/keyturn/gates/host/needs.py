"""What a host gate needs of its machine, as Protocols: the processes of sshd, and a journal. Adapters implement them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from keyturn.formats.host_session import HostSession, SshdConnection, SshdState

__all__ = ["HostJournal", "HostProcesses"]


class HostProcesses(Protocol):
    """The processes of this machine, as a host gate needs them."""

    def asking(self, pid: int) -> SshdConnection:
        """The connection on whose behalf process `pid` asks: sshd's own process above it. `Refused` when there is none."""

    def confine(self, connection: SshdConnection) -> tuple[str, ...]:
        """Put the connection into a control group of its own, if this machine has them; gives its path."""

    def look(self, session: HostSession) -> SshdState:
        """How the connection of `session` stands."""

    def tell(self, session: HostSession, message: str) -> None:
        """Say `message` at the terminals of the connection, if it has any."""

    def end(self, session: HostSession) -> None:
        """Kill what is left of the connection; returns without waiting for its end."""


class HostJournal(Protocol):
    """What a host gate must not forget. Each write outlives this process when it returns, that of a use a loss of power too; or
    `Unavailable`, and nothing is kept."""

    def sessions(self) -> Sequence[HostSession]:
        """The connections that the gate answered for and that may be alive."""

    def keep_session(self, session: HostSession) -> None:
        """Keep `session` in place of what was kept of the same connection."""

    def forget_session(self, session: HostSession) -> None:
        """Forget a connection of which no process is left."""

    def is_used(self, grant: str) -> bool:
        """Whether a use of the grant with this digest was kept, logged or not."""

    def keep_use(self, grant: str, envelope: bytes) -> None:
        """Keep what the log is to be told of the use of a grant: once for each."""

    def waiting(self) -> Sequence[tuple[str, bytes]]:
        """The uses that are not logged yet, by the digest of the grant."""

    def logged(self, grant: str) -> None:
        """The use of this grant is in the log, and waits no longer."""
