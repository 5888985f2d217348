"""What a watched request's sessions have in common: who watches them, and what stands still while nobody does.

    bastion -> watcher   one line of JSON each: [session, code, base64 of bytes]; codes as on a tape: o e r m
    watcher -> bastion   `seen <lines>` at least each second, and `end`

1. nothing goes through, either way, unless somebody watches: what came already is held, and nothing more is read;
2. he watches while he says so: a connection that is silent for `SILENT_S` watches nothing;
3. he gets each terminal's and command's output before the person does. Who is further behind than `BEHIND_BYTES_MAX` holds the
   output up; of sftp and forwarded ports he gets how much goes through, each second. What is typed he sees as it is echoed: a
   password is not;
4. after `absent_max_s` without anybody, the person's connections end; and at once when he says `end`.

One event loop's: nothing here is called from another thread.
"""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import asyncssh
import msgspec

from keyturn.errors import KeyturnError, Refused
from keyturn.ports import Watching

__all__ = ["BEHIND_BYTES_MAX", "SILENT_S", "Room", "WatchSession", "Watched"]

SILENT_S = 5.0
BEHIND_BYTES_MAX = 256 << 10
_DROPPED_BYTES = 8 << 20
_LINE_BYTES_MAX = 64


class Watched(Protocol):
    """One channel, or all forwarded connections of one login, in a room."""

    def freeze(self, *, frozen: bool) -> None:
        """Let nothing through; or again."""

    def mark(self, code: str, text: str) -> None:
        """Put `text` on the tape."""

    def attended(self, watching: Watching) -> None:
        """Put on the tape who watches, with his signed statement."""

    def tell(self, message: str) -> None:
        """Tell the person, if there is a terminal."""

    def tally(self) -> str:
        """How much went through since the last time, as the watcher is told it; empty when nothing did, or he saw it."""

    def caught_up(self) -> None:
        """The watcher is not behind any more."""


class Room:
    """The sessions under one request, and who watches them. `end` ends the person's connections, with the reason; `who` is whom
    the request wants to watch."""

    def __init__(
        self, who: str, *, absent_max_s: float, end: Callable[[KeyturnError], None], clock: Callable[[], float]
    ) -> None:
        self.who, self._absent_max_s, self._end, self.clock = who, absent_max_s, end, clock
        self._watched: dict[int, Watched] = {}
        self._sessions: set[WatchSession] = set()
        self._numbers = 0
        self._absent_since = clock()
        self.lines = 0
        self.present = False

    @property
    def empty(self) -> bool:
        return self.lines == 0 and not self._sessions

    def came(self) -> None:
        """A connection of the person began."""
        if self.lines == 0 and not self.present:
            self._absent_since = self.clock()
        self.lines += 1

    def left(self) -> None:
        """It ended."""
        self.lines -= 1

    def waiting(self) -> str:
        """What somebody is told who waits."""
        left_s = max(0, round(self._absent_max_s - (self.clock() - self._absent_since)))
        return (
            f"nothing goes through until {self.who.replace(':', ' ')} watches (keyturn grant watch); ends in {left_s} s"
        )

    def add(self, one: Watched, about: str) -> int:
        """Have `one` watched; gives its number, by which it shows what goes through."""
        self._numbers += 1
        self._watched[self._numbers] = one
        for watching in {session.watching.member: session.watching for session in self._present()}.values():
            one.attended(watching)
        one.freeze(frozen=not self.present)
        self.show(self._numbers, "m", about.encode())
        return self._numbers

    def remove(self, number: int) -> None:
        """It is over."""
        one = self._watched.pop(number, None)
        if one is not None:
            if said := one.tally():
                self.show(number, "m", said.encode())
            self.show(number, "m", b"over")

    def show(self, number: int, code: str, data: bytes) -> bool:
        """Send `data` to who watches; whether one of them is not behind."""
        line = msgspec.json.encode([number, code, base64.b64encode(data).decode("ascii")]) + b"\n"
        for session in list(self._sessions):
            session.send(line)
        return any(not session.behind for session in self._present())

    def sit(self, session: WatchSession) -> None:
        """Somebody begins to watch."""
        self._sessions.add(session)
        for one in self._watched.values():
            one.attended(session.watching)
        self.look()

    def stand_up(self, session: WatchSession) -> None:
        """He ended."""
        if session in self._sessions:
            self._sessions.discard(session)
            for one in self._watched.values():
                one.mark("m", f"{session.watching.member} watches no more")
            self.look()

    def end(self, session: WatchSession) -> None:
        """He says that it is to end, at once."""
        for one in self._watched.values():
            one.mark("m", f"ended by {session.watching.member}")
            one.freeze(frozen=True)
        self._end(Refused("watcher-ended", f"`{session.watching.member}`, who watches, ended it"))

    def look(self) -> None:
        """Find out whether somebody watches; called each second besides."""
        for session in [one for one in self._sessions if one.unseen > _DROPPED_BYTES]:
            session.abort()
        present = bool(self._present())
        if present != self.present:
            self.present = present
            self._absent_since = self.clock()
            for one in self._watched.values():
                one.mark("m", "watched" if present else "nobody watches: held")
                one.freeze(frozen=not present)
                one.tell("keyturn: watched" if present else f"keyturn: {self.waiting()}")
        seen = any(not session.behind for session in self._present())
        for number, one in self._watched.items():
            if seen:
                one.caught_up()
            if said := one.tally():
                self.show(number, "m", said.encode())
        if self.lines and not present and self.clock() - self._absent_since > self._absent_max_s:
            self._end(
                Refused("watcher-absent", f"nobody watched for {self._absent_max_s:.0f} s, and nothing goes on unseen")
            )

    def _present(self) -> list[WatchSession]:
        return [one for one in self._sessions if self.clock() - one.heard_at < SILENT_S]


class WatchSession(asyncssh.SSHServerSession[bytes]):
    """The channel of one who watches. It is in the room from its first `seen` on."""

    def __init__(self, watching: Watching, room: Room, *, over: Callable[[WatchSession], None]) -> None:
        self.watching, self._room, self._over = watching, room, over
        self._chan: Any = None
        self._rest = b""
        self._sent: deque[int] = deque()
        self.unseen = 0
        self.heard_at = room.clock()
        self._sits = False

    @property
    def behind(self) -> bool:
        return self.unseen > BEHIND_BYTES_MAX

    def connection_made(self, chan: Any) -> None:
        self._chan = chan

    def shell_requested(self) -> bool:
        return True

    def data_received(self, data: bytes, datatype: int | None) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LINE_BYTES_MAX:
            self.abort()
            return
        for line in lines:
            self._heard(line)

    def eof_received(self) -> bool:
        self.abort()  # whoever says nothing any more watches nothing
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._chan = None
        self._room.stand_up(self)
        self._over(self)

    def send(self, line: bytes) -> None:
        """Send one line."""
        if self._chan is None:
            return
        try:
            self._chan.write(line)
        except OSError:  # it is being closed
            self.abort()
            return
        self._sent.append(len(line))
        self.unseen += len(line)

    def abort(self) -> None:
        """End it: what it says makes no sense, or it sees nothing of what it is sent."""
        chan, self._chan = self._chan, None
        if chan is not None:
            chan.close()
        self._room.stand_up(self)

    def _heard(self, line: bytes) -> None:
        if line == b"end":
            self._room.end(self)
            return
        word, _, count = line.partition(b" ")
        if word != b"seen" or not count.isdigit() or len(count) > 9 or int(count) > len(self._sent):
            self.abort()
            return
        for _ in range(int(count)):
            self.unseen -= self._sent.popleft()
        self.heard_at = self._room.clock()
        if not self._sits:
            self._sits = True
            self._room.sit(self)
        else:
            self._room.look()
