"""Say of each login that it would not have been, where the gate only observes: whoever comes in by other means than a grant.

sshd asks the gate for keys that stand in no file of its own, and for no password. So what came in is seen from its processes,
twice in a row, and said once; what the gate would have let in was written down when it was asked.
"""

from __future__ import annotations

from collections import deque

from keyturn.errors import Refused
from keyturn.formats.host_session import SshdConnection
from keyturn.gates.host.needs import HostProcesses
from keyturn.gates.host.recorded import RecordedLogins

__all__ = ["Observing"]


class Observing:
    """What a gate remembers that observes. Not safe to call from two threads at once."""

    def __init__(self, processes: HostProcesses, recorded: RecordedLogins) -> None:
        self._processes = processes
        self._recorded = recorded
        self._granted: deque[SshdConnection] = deque(maxlen=1024)  # the newest: they come in within seconds, or never
        self._seen: set[SshdConnection] = set()
        self._said: set[SshdConnection] = set()

    def would_let_in(self, connection: SshdConnection) -> None:
        """The gate would have let this one in, and has written that down."""
        self._granted.append(connection)

    def look(self) -> None:
        """Write down each connection that came in, at the second look, unless the gate would have let it in."""
        here = dict(self._processes.came_in())
        for connection in (here.keys() & self._seen) - {*self._granted, *self._said}:
            self._recorded.refused(
                here[connection],
                Refused(
                    "came-in-otherwise", "somebody came in by other means than a grant, which an enforcing gate closes"
                ),
            )
            self._said.add(connection)
        self._seen = set(here)
        self._said &= self._seen
