"""Forwarded connections of one login: on one tape together, told apart by their numbers; watched together, if they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import asyncssh

from keyturn.adapters.bastion.side import Line, Side
from keyturn.adapters.recordings.shelf import OpenTape
from keyturn.errors import KeyturnError
from keyturn.ports import Watching

if TYPE_CHECKING:
    from asyncssh import SSHClientConnection

__all__ = ["Forwards"]


class Forwards:
    """What one person forwards over one connection: `watching.Watched`. Its tape begins with the first."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._relays: set[ForwardRelay] = set()
        self._tape: OpenTape | None = None
        self._numbers, self._seat = 0, 0
        self._through = {"i": 0, "o": 0}
        self._frozen = False

    def __len__(self) -> int:
        return len(self._relays)

    async def connect(self, to: tuple[str, int], origin: tuple[str, int]) -> Any:
        """Connect through the host, `to` being what the grant names; gives the person's side, or raises `ChannelOpenError`."""
        try:
            await self._line.watched()
            tape = self._begun()
            self._numbers += 1
            relay = ForwardRelay(tape, self._numbers, self._see, ended=self._relays.discard)
            relay.freeze(frozen=self._frozen)
            self._relays.add(relay)
            about = f"{self._numbers}: to {to[0]}:{to[1]} from {origin[0]}:{origin[1]}"
            self.mark("m", about)
            if self._line.room is not None:
                self._line.room.show(self._seat, "m", about.encode())
            try:
                return await relay.connect(await self._line.host(), to, origin)
            except BaseException:
                self._relays.discard(relay)
                raise
        except (KeyturnError, asyncssh.Error, OSError) as err:
            self._line.say("forward-unrelayed", err)
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, "the bastion could not connect") from err

    def over(self) -> None:
        """The person's connection is over: so is the tape."""
        tape, self._tape = self._tape, None
        if tape is not None:
            if self._line.room is not None:
                self._line.room.remove(self._seat)
            self._line.later(self._line.end(tape))

    def freeze(self, *, frozen: bool) -> None:
        self._frozen = frozen
        for relay in list(self._relays):
            relay.freeze(frozen=frozen)

    def mark(self, code: str, text: str) -> None:
        if self._tape is not None:
            self._tape.tape.write(code, text.encode())

    def attended(self, watching: Watching) -> None:
        if self._tape is not None:
            self._tape.attended(watching)

    def tell(self, message: str) -> None:
        """There is no terminal."""

    def tally(self) -> str:
        came, went = self._through["o"], self._through["i"]
        self._through = {"i": 0, "o": 0}
        return f"forwarded: {went} bytes from the person, {came} to him" if came or went else ""

    def caught_up(self) -> None:
        """Nothing here waits for who watches: he gets numbers."""

    def _begun(self) -> OpenTape:
        if self._tape is None:
            self._tape = self._line.begin("forwards", (80, 24), self._drained, terminal=False)
            if self._line.room is not None:
                self._seat = self._line.room.add(self, "forwarded connections")
        return self._tape

    def _see(self, code: str, data: bytes) -> bool:
        self._through[code[0]] += len(data)
        return True

    def _drained(self) -> None:
        for relay in list(self._relays):
            relay.drained()


class _ForwardSide(Side, asyncssh.SSHTCPSession[bytes]):
    def __init__(
        self, tape: OpenTape, code: str, see: Callable[[str, bytes], bool], *, ended: Callable[[], None]
    ) -> None:
        Side.__init__(self, tape, code, see)
        self._ended = ended

    def connection_made(self, chan: Any) -> None:
        self.chan = chan

    def connection_lost(self, exc: Exception | None) -> None:
        self.chan = None
        if self.other is not None and self.other.chan is not None:
            self.other.chan.close()
        self._ended()


class ForwardRelay:
    """One forwarded connection, on the tape that all of this person's share; `number` tells them apart."""

    def __init__(
        self, tape: OpenTape, number: int, see: Callable[[str, bytes], bool], *, ended: Callable[[ForwardRelay], None]
    ) -> None:
        self._left = 2
        self._all_ended = ended
        self.person = _ForwardSide(tape, f"i{number}", see, ended=self._one_ended)
        self.far = _ForwardSide(tape, f"o{number}", see, ended=self._one_ended)
        self.person.other, self.far.other = self.far, self.person

    async def connect(self, host: SSHClientConnection, to: tuple[str, int], origin: tuple[str, int]) -> _ForwardSide:
        """Have the host connect; gives the person's side."""
        await host.create_connection(lambda: self.far, *to, *origin, encoding=None)
        return self.person

    def drained(self) -> None:
        """The tape has room again."""
        self.person.free("tape")
        self.far.free("tape")

    def freeze(self, *, frozen: bool) -> None:
        """Let nothing through; or again."""
        self.person.freeze(frozen=frozen)
        self.far.freeze(frozen=frozen)

    def _one_ended(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._all_ended(self)
