"""Open a host gate in its directory: `gate.toml`, `root.json`, `key`, `inbox/`, `state/`; and run what it is made of.

Three threads beside the port: one follows the log, one watches what came in and logs uses, one answers sshd. When one of them
ends, the process does: systemd starts it again, and until then nobody is let in.
"""

from __future__ import annotations

import os
import pwd
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from keyturn.adapters import process_log
from keyturn.adapters.clock import SystemClock, SystemEntropy
from keyturn.adapters.files.break_glass_journal import BreakGlassJournalFiles
from keyturn.adapters.files.config_files import read_small, replace_file
from keyturn.adapters.files.decision_files import DecisionFiles
from keyturn.adapters.files.gate_inbox import GateInbox
from keyturn.adapters.hosts.host_journal import HostJournalFiles
from keyturn.adapters.hosts.host_processes import LinuxHost
from keyturn.adapters.hosts.host_socket import HostSocket
from keyturn.app.gates.follow_always import FollowedAlways
from keyturn.config import host_gate as host_config
from keyturn.config.host_gate import HostGateConfig
from keyturn.crypto import sshsig
from keyturn.errors import KeyturnError, Usage
from keyturn.formats.digest import sha256
from keyturn.formats.posix_time import rfc3339
from keyturn.formats.sshsig import parse_public_line
from keyturn.gates.break_glass import BreakGlassDoor
from keyturn.gates.host.door import HostDoor
from keyturn.gates.host.gate import HostGate, HostGateParts
from keyturn.gates.host.recorded import RecordedLogins
from keyturn.gates.session_grants import SessionGrants
from keyturn.grants.bastion import bastion_of
from keyturn.wiring.gates import inbox as gate_inbox
from keyturn.wiring.gates.carried import CarriedGate, following_carried, take_answer
from keyturn.wiring.gates.process import BelievedNow, FollowingGate, always, following, start_all

__all__ = ["LOOK_WITHIN_S", "OpenedHostGate", "banner_beside", "bring", "open_host_gate", "read_config"]

LOOK_WITHIN_S = 2.0
LOOK_AT_LOGIN_WITHIN_S = 5.0
_WATCH_EVERY_S = 0.5
_LOG_EVERY_S = 2.0
_SAY_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class OpenedHostGate:
    """A host gate and what keeps it going."""

    config: HostGateConfig
    gate: HostGate
    door: HostDoor
    glass: BreakGlassDoor
    followed: FollowedAlways
    helper: int
    group: int

    def answer(self, account: str, line: str, pid: int) -> str:
        """The line for sshd; looks at the log once before it refuses, for what was approved a moment ago."""
        key = sshsig.public_key(parse_public_line(line))
        try:
            return self.gate.answer(account, key, pid=pid)
        except KeyturnError:
            self.followed.look(LOOK_AT_LOGIN_WITHIN_S)
        try:
            return self.gate.answer(account, key, pid=pid)
        except KeyturnError as err:
            process_log.say("info", "login-refused", err=err, about={"account": account[:60]})
            raise

    @contextmanager
    def running(self, socket: Path) -> Iterator[None]:
        """Follow, watch, and answer at `socket`, for as long as the block runs."""
        stop = threading.Event()
        with HostSocket(socket, group=self.group, users=frozenset({self.helper, os.geteuid()})) as answering:
            works = {
                "follow": lambda: self.followed.run(stop),
                "watch": lambda: self._watch(stop),
                "banner": lambda: self._say_when_closed(stop, banner_beside(socket)),
                "log": lambda: self._log(stop),
                "answer": lambda: answering.serve(self.answer),
            }
            start_all(works, stop)
            try:
                yield
            finally:
                stop.set()
                if not self.config.observes:
                    _say_at(banner_beside(socket), "its verifier does not run")

    def _watch(self, stop: threading.Event) -> None:
        while not stop.wait(_WATCH_EVERY_S):
            self.gate.watch()

    def _say_when_closed(self, stop: threading.Event, banner: Path) -> None:
        before: str | None = None
        while True:
            closed = None if self.config.observes else self.door.closed()
            code = "" if closed is None else closed.code
            if code != before:
                _say_at(banner, "" if closed is None else closed.message)
                before = code
            if stop.wait(_SAY_EVERY_S):
                return

    def _log(self, stop: threading.Event) -> None:
        while not stop.wait(_LOG_EVERY_S):
            with suppress(KeyturnError):  # the log cannot be reached, which whoever follows it says
                self.gate.log_what_waits()
                self.glass.log_what_waits()


def read_config(directory: Path) -> HostGateConfig:
    """Read the gate's configuration, or raise `Usage` saying how to make one."""
    path = directory / "gate.toml"
    if not path.exists():
        raise Usage("gate-none", f"expected a host gate in `{directory}`", hint="keyturn gate host install")
    return host_config.parse(read_small(path), where=str(path))


def open_host_gate(directory: Path, *, program: Path) -> OpenedHostGate:
    """Make the gate of this host: reads its key once, and pins its root."""
    config = read_config(directory)
    clock, entropy, state = SystemClock(), SystemEntropy(), directory / "state"
    journal, emergencies = HostJournalFiles(state), BreakGlassJournalFiles(state)
    it: FollowingGate | CarriedGate
    if config.service is None:
        it = following_carried(config, directory, outbox=lambda: _waiting(journal, emergencies))
    else:
        it = following(config, directory, service=lambda: config.service)
    now = BelievedNow(it.followed, it.pushed)
    inbox = GateInbox(directory / "inbox")
    glass = BreakGlassDoor(
        gate=config.resource,
        key=it.key,
        followed=now,
        writer=it.log,
        journal=emergencies,
        clock=clock,
        entropy=entropy,
    )
    user = _user(config.user)
    standing = SessionGrants(
        gate=config.resource,
        view=lambda: now.believed,
        seen=lambda: it.followed.seen,
        strict=it.followed.require_strict,
        brought=lambda: gate_inbox.brought(inbox),
        glass=glass,
        clock=clock,
        recorded=lambda made: bastion_of(made) is not None,
        observes=config.observes,
    )
    door = HostDoor(standing, host=config.host, accounts=config.accounts, bastions=config.bastions, user_id=_user_id)
    gate = HostGate(
        HostGateParts(
            gate=config.resource,
            key=it.key,
            door=door,
            journal=journal,
            processes=LinuxHost(helper=user.pw_uid, groups=sha256(bytes(directory.resolve()))[:16]),
            recorded=RecordedLogins(
                DecisionFiles(state / "decisions"),
                gate=config.resource,
                host=config.host,
                clock=clock,
                observes=config.observes,
            ),
            writer=it.log,
            clock=clock,
            entropy=entropy,
            obey=lambda negative: it.pushed.take(negative, it.followed.seen),
            seen=lambda: it.followed.seen,
            program=str(program),
            observes=config.observes,
            say=lambda event, message, err: process_log.say("warning", event, message, err=err),
        )
    )
    return OpenedHostGate(config, gate, door, glass, always(it.followed.refresh), user.pw_uid, user.pw_gid)


def banner_beside(socket: Path) -> Path:
    """Where sshd finds what it says to everybody before a login: nothing at all while the gate is open."""
    return socket.with_name("banner")


def _say_at(banner: Path, why: str) -> None:
    text = f"keyturn: this host lets nobody in now: {why}\n" if why else ""
    with suppress(KeyturnError):  # a full disk, which its operator hears of otherwise
        replace_file(banner, text.encode(), mode=0o644)


def bring(config: HostGateConfig, directory: Path, raw: bytes) -> str:
    """Bring the gate the answer, break-glass bundle or recovery grant `raw`; gives which it is, or raises what is wrong."""
    if raw.startswith(b'{"checkin":'):
        taken = take_answer(config, directory, raw)
        if taken.closed is not None:
            raise taken.closed
        return f"an answer: the log up to entry {taken.size}, as of {rfc3339(taken.cosigned_at)}"
    return gate_inbox.bring(GateInbox(directory / "inbox"), raw)


def _waiting(journal: HostJournalFiles, emergencies: BreakGlassJournalFiles) -> Iterator[bytes]:
    """What the log is to be told, in the order in which it takes it."""
    for entry in emergencies.entries():
        yield from entry
    for _, envelope in journal.waiting():
        yield envelope


def _user(name: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(name)
    except KeyError as err:
        raise Usage(
            "host-user",
            f"gate.toml names the user `{name}` for sshd's helper, and this host has none",
            hint=f"useradd --system --no-create-home --shell /usr/sbin/nologin {name}",
        ) from err


def _user_id(account: str) -> int | None:
    try:
        return pwd.getpwnam(account).pw_uid
    except (KeyError, ValueError):
        return None
