"""Carry a session between a person and a host, whatever its kind: a shell, a command or sftp, and onto a tape first.

What a session may do, the host holds up as for everybody (`adapters.hosts`); what goes through here is the person's shell,
command or sftp, and never an agent, X11, a tunnel, or the environment. A session that is to be watched begins when somebody
does, and its command, its signals and its end wait as its bytes do.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import asyncssh

from keyturn.adapters.bastion.sftp_names import SftpNames
from keyturn.adapters.bastion.side import Line, Side
from keyturn.adapters.recordings.shelf import OpenTape
from keyturn.errors import KeyturnError, Unavailable
from keyturn.formats.recording import Recorded
from keyturn.ports import Watching

__all__ = ["SessionRelay"]

_WAITING_MAX = 32


class _HostSession(Side, asyncssh.SSHClientSession[bytes]):
    def __init__(self, tape: OpenTape, relay: SessionRelay) -> None:
        Side.__init__(self, tape, "o", relay.see)
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
        self._seat = 0
        self._frozen, self._host_ended = False, False
        self._waiting: list[Callable[[], None]] = []
        self._through = {"i": 0, "o": 0}
        self._sftp = SftpNames()
        self.status: int | None = None
        self.signal: tuple[str, bool, str, str] | None = None

    def connection_made(self, chan: Any) -> None:
        self._chan = chan

    def pty_requested(self, term_type: str, term_size: tuple[int, int, int, int], term_modes: Any) -> bool:
        if self._starting:  # what who watches is told of a session goes by whether it has a terminal
            return False
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
            self._show("r", f"{width}x{height}")
        self._soon(lambda chan: chan.change_terminal_size(width, height, pixwidth, pixheight))

    def signal_received(self, signal: str) -> None:
        self._soon(lambda chan: chan.send_signal(signal))

    def break_received(self, msec: int) -> bool:
        return self._soon(lambda chan: chan.send_break(msec))

    def connection_lost(self, exc: Exception | None) -> None:
        self._chan = None
        if self._person is not None:
            self._person.chan = None
        if self._host is not None and self._host.chan is not None:
            self._host.chan.close()
        elif self._host_ended:
            self._line.later(self._finish())
        elif not self._starting:
            self._ended(self)

    def tell(self, message: str) -> None:
        """Say `message` at the person's terminal, if he has one."""
        if self._chan is not None and self._terminal is not None:
            with suppress(OSError):  # it is being closed
                self._chan.write(f"\r\n{message}\r\n".encode())

    def see(self, code: str, data: bytes) -> bool:
        """Show who watches what goes through, or count it; whether there is room for more."""
        room = self._line.room
        if room is None:
            return True
        if code in "oe" and self._what != "sftp":
            return room.show(self._seat, code, data)
        seen = True
        if self._what == "sftp" and code == "i":
            for named in self._sftp.take(data):
                seen = room.show(self._seat, "m", f"sftp: {named}".encode())
        if self._terminal is None or self._what == "sftp":
            self._through["i" if code == "i" else "o"] += len(data)
        return seen

    def freeze(self, *, frozen: bool) -> None:
        self._frozen = frozen
        for side in (self._person, self._host):
            if side is not None:
                side.freeze(frozen=frozen)
        if frozen:
            return
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one()
        if self._host_ended:
            self.host_ended(None)

    def mark(self, code: str, text: str) -> None:
        if self._tape is not None:
            self._tape.tape.write(code, text.encode())

    def attended(self, watching: Watching) -> None:
        if self._tape is not None:
            self._tape.attended(watching)

    def tally(self) -> str:
        came, went = self._through["o"], self._through["i"]
        self._through = {"i": 0, "o": 0}
        return f"{self._what}: {went} bytes from the person, {came} to him" if came or went else ""

    def caught_up(self) -> None:
        for side in (self._person, self._host):
            if side is not None:
                side.free("unseen")

    def host_ended(self, exc: Exception | None) -> None:
        """The host is through with the session: so is the person, as soon as he may hear of it. Never when the
        tape is broken: he would take for whole what is not."""
        broken = self._tape is not None and self._tape.tape.broken
        self._host_ended = (self._frozen or broken) and self._chan is not None
        if self._host_ended:
            return
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
        why = self._line.without_sftp() if self._what == "sftp" else ""
        if why:  # the host would say no as well, and sshd throws away what a subsystem writes to stderr
            self._chan.write_stderr(f"keyturn: {why}\r\n".encode())
            self._chan.exit(1)
            await self._finish()
            return
        try:
            self._tape = tape = self._line.begin(
                self._what, (width, height), self._drained, terminal=self._terminal is not None
            )
            about = f"$ {self._asked['command']}" if "command" in self._asked else self._what
            if "command" in self._asked:
                self.mark("m", about)
            room = self._line.room
            if room is not None:
                self._seat = room.add(self, about)
                if not room.present and self._what != "sftp":
                    self._chan.write_stderr(f"keyturn: {room.waiting()}\r\n".encode())
            await self._line.watched()
            asked = dict(self._asked)
            if self._terminal is not None:
                asked |= {
                    "request_pty": True,
                    "term_type": self._terminal,
                    "term_modes": self._chan.get_terminal_modes(),
                }
                asked |= {"term_size": (width, height, *pixels)}
                self._show("r", f"{width}x{height}")
            host = await self._line.host()
            await self._line.watched()
            if self._chan is None:
                raise Unavailable("session-over", "he left before anything went through")
            # What the host says first is taped as what it says later: the session is its own, from the first byte on.
            self._host = made = _HostSession(tape, self)
            person = Side(tape, "i", self.see)
            person.chan, person.other, made.other = self._chan, made, person
            made.freeze(frozen=self._frozen)
            person.freeze(frozen=self._frozen)
            await host.create_session(lambda: made, encoding=None, **asked)
        except (KeyturnError, asyncssh.Error, OSError) as err:
            self._line.say("session-unrelayed", err)
            self._host = None
            if self._chan is not None:
                self._chan.write_stderr(f"keyturn: the bastion opened no session: {_said(err)}\r\n".encode())
                self._chan.exit(255)
            await self._finish()
            return
        person.freeze(frozen=self._frozen)
        self._person = person
        if self._chan is None:  # he left meanwhile
            if made.chan is not None:
                made.chan.close()
            return
        person.hold("early")
        for data, datatype in self._early:
            person.data_received(data, datatype)
        self._early.clear()
        if self._early_eof:
            person.eof_received()
        person.free("early")

    def _soon(self, work: Callable[[Any], Any]) -> bool:
        """Do `work` with the host's channel, if there is one: at once, or when somebody watches again."""
        host = self._host
        if host is None or host.chan is None or len(self._waiting) >= _WAITING_MAX:
            return False
        if self._frozen:
            self._waiting.append(lambda: work(host.chan) if host.chan is not None else None)
        else:
            work(host.chan)
        return True

    def _show(self, code: str, text: str) -> None:
        if self._line.room is not None:
            self._line.room.show(self._seat, code, text.encode())

    def _drained(self) -> None:
        for side in (self._person, self._host):
            if side is not None:
                side.free("tape")

    async def _finish(self) -> None:
        tape, self._tape = self._tape, None
        if self._line.room is not None:
            self._line.room.remove(self._seat)
        if tape is not None:
            await self._line.end(tape)
        self._ended(self)


def _said(err: Exception) -> str:
    return err.message if isinstance(err, KeyturnError) else str(err)
