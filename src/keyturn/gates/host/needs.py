"""What a host gate needs of its machine, as Protocols: the processes of sshd, and a journal. Adapters implement them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from keyturn.formats.host_session import HostSession, SshdConnection, SshdState
from keyturn.gates.uses import UseJournal

__all__ = ["HostJournal", "HostProcesses"]


class HostProcesses(Protocol):
    """The processes of this machine, as a host gate needs them."""

    def asking(self, pid: int) -> SshdConnection:
        """The connection on whose behalf process `pid` asks: sshd's own process above it. `Refused` when there is none."""

    def confine(self, connection: SshdConnection) -> tuple[str, ...]:
        """Put the connection into a control group of its own, if this machine has them; gives its path."""

    def confined(self) -> Sequence[HostSession]:
        """Every connection that `confine` made a control group for since this machine started, and that was not seen to end; by
        which grant they are is not known here: their digests are zeros."""

    def came_in(self) -> Sequence[tuple[SshdConnection, str]]:
        """Every connection of sshd that is behind its login, however it came in, with its account."""

    def look(self, session: HostSession) -> SshdState:
        """How the connection of `session` stands."""

    def tell(self, session: HostSession, message: str) -> None:
        """Say `message` at the terminals of the connection, if it has any."""

    def end(self, session: HostSession) -> None:
        """Kill what is left of the connection; returns without waiting for its end."""


class HostJournal(UseJournal, Protocol):
    """What a host gate must not forget: its uses, and its connections, whose writes outlive this process when they return."""

    def sessions(self) -> Sequence[HostSession]:
        """The connections that the gate answered for and that may be alive."""

    def keep_session(self, session: HostSession) -> None:
        """Keep `session` in place of what was kept of the same connection."""

    def forget_session(self, session: HostSession) -> None:
        """Forget a connection of which no process is left."""
