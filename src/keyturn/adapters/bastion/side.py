"""One end of a channel between a person and a host: what comes is taped, shown to who watches, and passed on, in this order.

When the tape has no room, when who watches is behind, or the other side is slow, this side is not read. While a watched session
stands still nothing is passed on, the end of what comes included; and nothing ever again once the tape is broken.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from keyturn.adapters.bastion.watching import Room
from keyturn.adapters.recordings.shelf import OpenTape
from keyturn.formats.recording import Recorded

if TYPE_CHECKING:
    from asyncssh import SSHClientConnection

__all__ = ["Line", "Side"]

_STDERR = 1  # RFC 4254 section 5.2: SSH_EXTENDED_DATA_STDERR


class Line(Protocol):
    """The person's connection that a channel belongs to. `room` is there when his sessions are to be watched."""

    room: Room | None

    async def watched(self) -> None:
        """Return when somebody watches, if somebody is to; raises when the connection is over before."""

    async def host(self) -> SSHClientConnection:
        """The connection to the host; raises when there is none to be had."""

    def begin(self, what: Recorded, size: tuple[int, int], drained: Callable[[], None], *, terminal: bool) -> OpenTape:
        """Begin a tape, of a `terminal` or of none; `Unavailable` when it cannot be written."""

    async def end(self, tape: OpenTape) -> None:
        """Finish a tape, and have it signed for."""

    def without_sftp(self) -> str:
        """What somebody is told who wants file transfer, and has a grant without; empty when his has it."""

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        """Have `work` done, whatever becomes of the connection."""

    def say(self, event: str, err: Exception) -> None:
        """Tell the bastion's operator."""


class Side:
    """One end of a channel: what comes is taped under `code`, given to `see`, and written to `other`. `see` says whether there
    is room for more."""

    def __init__(self, tape: OpenTape, code: str, see: Callable[[str, bytes], bool] = lambda code, data: True) -> None:
        self._tape, self._code, self._see = tape.tape, code, see
        self.chan: Any = None
        self.other: Side | None = None
        self._held: set[str] = set()
        self._frozen = False
        self._waiting: list[Callable[[], None]] = []

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Tape, show, then pass on."""
        if self._frozen:
            self._waiting.append(partial(self._pass_on, data, datatype))
            self.hold("frozen")
        else:
            self._pass_on(data, datatype)

    def eof_received(self) -> bool:
        """Pass on that nothing more comes; the other direction goes on."""
        if self._frozen:
            self._waiting.append(self._pass_eof)
        else:
            self._pass_eof()
        return True

    def freeze(self, *, frozen: bool) -> None:
        """Pass nothing on; or again, and first what came meanwhile."""
        if frozen == self._frozen:
            return
        self._frozen = frozen
        if frozen:
            self.hold("frozen")
            return
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one()
        self.free("frozen")

    def pause_writing(self) -> None:
        """This side is slow: what is for it is not read."""
        if self.other is not None:
            self.other.hold("slow")

    def resume_writing(self) -> None:
        """It caught up."""
        if self.other is not None:
            self.other.free("slow")

    def hold(self, why: str) -> None:
        """Do not read this side, until it is freed of every reason."""
        self._held.add(why)
        if self.chan is not None:
            self.chan.pause_reading()

    def free(self, why: str) -> None:
        """Read it again, unless something else holds it."""
        self._held.discard(why)
        if not self._held and self.chan is not None:
            self.chan.resume_reading()

    def _pass_on(self, data: bytes, datatype: int | None) -> None:
        code = "e" if datatype == _STDERR else self._code
        if not self._tape.write(code, data):
            self.hold("tape")
        if self._tape.broken:  # INVARIANT: nothing goes on that is not recorded, and no end that makes it look whole
            return
        if not self._see(code, data):
            self.hold("unseen")
        if self.other is not None and self.other.chan is not None:
            self.other.chan.write(data, datatype)

    def _pass_eof(self) -> None:
        if not self._tape.broken and self.other is not None and self.other.chan is not None:
            self.other.chan.write_eof()
