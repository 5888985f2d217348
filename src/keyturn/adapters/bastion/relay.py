"""Carry one channel between a person and a host, and onto a tape first: sessions of every kind, and forwarded connections.

A `Side` is one end of it. Bytes are put on the tape before the other side gets them; when the tape has no room, or the other side
is slow, this side is not read. What a session may do, the host holds up as for everybody (`adapters.hosts`); what goes through
here is the person's shell, command or sftp, and never an agent, X11, a tunnel, or the environment.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol

import asyncssh

from keyturn.adapters.recordings.shelf import OpenTape
from keyturn.errors import KeyturnError
from keyturn.formats.recording import Recorded

if TYPE_CHECKING:
    from asyncssh import SSHClientConnection

__all__ = ["ForwardRelay", "Line", "SessionRelay", "Side"]

_STDERR = 1  # RFC 4254 section 5.2: SSH_EXTENDED_DATA_STDERR


class Line(Protocol):
    """The person's connection that a channel belongs to."""

    async def host(self) -> SSHClientConnection:
        """The connection to the host; raises when there is none to be had."""

    def begin(self, what: Recorded, size: tuple[int, int], drained: Callable[[], None]) -> OpenTape:
        """Begin a tape; `Unavailable` when it cannot be written."""

    async def end(self, tape: OpenTape) -> None:
        """Finish a tape, and have it signed for."""

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        """Have `work` done, whatever becomes of the connection."""

    def say(self, event: str, err: Exception) -> None:
        """Tell the bastion's operator."""


class Side:
    """One end of a channel: where it comes from is read, taped under `code`, and written to `other`."""

    def __init__(self, tape: OpenTape, code: str) -> None:
        self._tape, self._code = tape.tape, code
        self.chan: Any = None
        self.other: Side | None = None
        self._held: set[str] = set()

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Tape, then pass on."""
        code = "e" if datatype == _STDERR else self._code
        if not self._tape.write(code, data):
            self.hold("tape")
        if self.other is not None and self.other.chan is not None:
            self.other.chan.write(data, datatype)

    def eof_received(self) -> bool:
        """Pass on that nothing more comes; the other direction goes on."""
        if self.other is not None and self.other.chan is not None:
            self.other.chan.write_eof()
        return True

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


class _HostSession(Side, asyncssh.SSHClientSession[bytes]):
    def __init__(self, tape: OpenTape, relay: SessionRelay) -> None:
        Side.__init__(self, tape, "o")
        self._relay = relay

    def connection_made(self, chan: Any) -> None:
        self.chan = chan

    def exit_status_received(self, status: int) -> None:
        self._relay.status = status

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        self._relay.signal = (signal, core_dumped, msg, lang)

    def connection_lost(self, exc: Exception | None) -> None:
        self.chan = None
        self._relay.host_ended(exc)


class SessionRelay(asyncssh.SSHServerSession[bytes]):
    """A session of a person: a shell, a command or a subsystem, as he asks for it, at the host."""

    def __init__(self, line: Line, *, ended: Callable[[SessionRelay], None]) -> None:
        self._line, self._ended = line, ended
        self._terminal: str | None = None
        self._asked: dict[str, Any] = {}
        self._what: Recorded = "shell"
        self._chan: Any = None
        self._tape: OpenTape | None = None
        self._person: Side | None = None
        self._host: _HostSession | None = None
        self._early: list[tuple[bytes, int | None]] = []
        self._early_eof = False
        self._starting = False
        self.status: int | None = None
        self.signal: tuple[str, bool, str, str] | None = None

    def connection_made(self, chan: Any) -> None:
        self._chan = chan

    def pty_requested(self, term_type: str, term_size: tuple[int, int, int, int], term_modes: Any) -> bool:
        self._terminal = term_type
        return True

    def shell_requested(self) -> bool:
        return self._ask("shell", {})

    def exec_requested(self, command: str) -> bool:
        return self._ask("exec", {"command": command})

    def subsystem_requested(self, subsystem: str) -> bool:
        return subsystem == "sftp" and self._ask("sftp", {"subsystem": subsystem})

    def session_started(self) -> None:
        self._starting = True
        self._line.later(self._start())

    def data_received(self, data: bytes, datatype: int | None) -> None:
        if self._person is None:
            self._early.append((data, datatype))
            self._chan.pause_reading()
        else:
            self._person.data_received(data, datatype)

    def eof_received(self) -> bool:
        if self._person is None:
            self._early_eof = True
            return True
        return self._person.eof_received()

    def pause_writing(self) -> None:
        if self._person is not None:
            self._person.pause_writing()

    def resume_writing(self) -> None:
        if self._person is not None:
            self._person.resume_writing()

    def terminal_size_changed(self, width: int, height: int, pixwidth: int, pixheight: int) -> None:
        if self._tape is not None:
            self._tape.tape.write("r", f"{width}x{height}".encode())
        if self._host is not None and self._host.chan is not None:
            self._host.chan.change_terminal_size(width, height, pixwidth, pixheight)

    def signal_received(self, signal: str) -> None:
        if self._host is not None and self._host.chan is not None:
            self._host.chan.send_signal(signal)

    def break_received(self, msec: int) -> bool:
        if self._host is None or self._host.chan is None:
            return False
        self._host.chan.send_break(msec)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._chan = None
        if self._person is not None:
            self._person.chan = None
        if self._host is not None and self._host.chan is not None:
            self._host.chan.close()
        elif not self._starting:
            self._ended(self)

    def tell(self, message: str) -> None:
        """Say `message` at the person's terminal, if he has one."""
        if self._chan is not None and self._terminal is not None:
            self._chan.write(f"\r\n{message}\r\n".encode())

    def host_ended(self, exc: Exception | None) -> None:
        """The host is through with the session: so is the person."""
        if self._chan is not None:
            if self.signal is not None:
                self._chan.exit_with_signal(*self.signal)
            else:
                self._chan.exit(255 if self.status is None else self.status)
        self._line.later(self._finish())

    def _ask(self, what: Recorded, asked: dict[str, Any]) -> bool:
        self._what, self._asked = what, asked
        return True

    async def _start(self) -> None:
        width, height, *pixels = self._chan.get_terminal_size()
        try:
            self._tape = tape = self._line.begin(self._what, (width, height), self._drained)
            if "command" in self._asked:
                tape.tape.write("m", f"$ {self._asked['command']}".encode())
            asked = dict(self._asked)
            if self._terminal is not None:
                asked |= {
                    "request_pty": True,
                    "term_type": self._terminal,
                    "term_modes": self._chan.get_terminal_modes(),
                }
                asked |= {"term_size": (width, height, *pixels)}
            host = await self._line.host()
            # What the host says first is taped as what it says later: the session is its own, from the first byte on.
            made = _HostSession(tape, self)
            person = Side(tape, "i")
            person.chan, person.other, made.other = self._chan, made, person
            await host.create_session(lambda: made, encoding=None, **asked)
        except (KeyturnError, asyncssh.Error, OSError) as err:
            self._line.say("session-unrelayed", err)
            if self._chan is not None:
                self._chan.write_stderr(f"keyturn: the bastion opened no session: {_said(err)}\r\n".encode())
                self._chan.exit(255)
            await self._finish()
            return
        self._host, self._person = made, person
        if self._chan is None:  # he left meanwhile
            if made.chan is not None:
                made.chan.close()
            return
        for data, datatype in self._early:
            person.data_received(data, datatype)
        self._early.clear()
        if self._early_eof:
            person.eof_received()
        self._chan.resume_reading()

    def _drained(self) -> None:
        for side in (self._person, self._host):
            if side is not None:
                side.free("tape")

    async def _finish(self) -> None:
        tape, self._tape = self._tape, None
        if tape is not None:
            await self._line.end(tape)
        self._ended(self)


class _ForwardSide(Side, asyncssh.SSHTCPSession[bytes]):
    def __init__(self, tape: OpenTape, code: str, *, ended: Callable[[], None]) -> None:
        Side.__init__(self, tape, code)
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

    def __init__(self, tape: OpenTape, number: int, *, ended: Callable[[ForwardRelay], None]) -> None:
        self._left = 2
        self._all_ended = ended
        self.person = _ForwardSide(tape, f"i{number}", ended=self._one_ended)
        self.far = _ForwardSide(tape, f"o{number}", ended=self._one_ended)
        self.person.other, self.far.other = self.far, self.person

    async def connect(self, host: SSHClientConnection, to: tuple[str, int], origin: tuple[str, int]) -> _ForwardSide:
        """Have the host connect; gives the person's side."""
        await host.create_connection(lambda: self.far, *to, *origin, encoding=None)
        return self.person

    def drained(self) -> None:
        """The tape has room again."""
        self.person.free("tape")
        self.far.free("tape")

    def _one_ended(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._all_ended(self)


def _said(err: Exception) -> str:
    return err.message if isinstance(err, KeyturnError) else str(err)
