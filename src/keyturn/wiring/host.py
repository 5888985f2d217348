"""Open a host gate in its directory: `gate.toml`, `root.json`, `key`, `inbox/`, `state/`; and run what it is made of.

Three threads beside the port: one follows the log, one watches what came in and logs uses, one answers sshd. When one of them
ends, the process does: systemd starts it again, and until then nobody is let in.
"""

from __future__ import annotations

import os
import pwd
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from keyturn.adapters import process_log
from keyturn.adapters.clock import SystemClock, SystemEntropy, pause
from keyturn.adapters.files.break_glass_journal import BreakGlassJournalFiles
from keyturn.adapters.files.config_files import read_small, replace_file
from keyturn.adapters.files.decision_files import DecisionFiles
from keyturn.adapters.files.key_files import read_key
from keyturn.adapters.files.pushed_files import PushedFiles
from keyturn.adapters.hosts.host_inbox import HostInbox
from keyturn.adapters.hosts.host_journal import HostJournalFiles
from keyturn.adapters.hosts.host_processes import LinuxHost
from keyturn.adapters.hosts.host_socket import HostSocket
from keyturn.app.access.break_glass_file import pending_in
from keyturn.app.access.recovery_file import recovery_in
from keyturn.app.gates.follow_always import FollowedAlways
from keyturn.app.gates.follow_as_gate import FollowedLog, Stricter
from keyturn.app.gates.obey_pushed import PushedNegatives
from keyturn.config import host as host_config
from keyturn.config.host import HostGateConfig
from keyturn.crypto import sshsig
from keyturn.errors import KeyturnError, Malformed, Usage
from keyturn.formats.sshsig import parse_public_line
from keyturn.gates.break_glass import BreakGlassDoor
from keyturn.gates.host.door import Brought, HostDoor
from keyturn.gates.host.gate import HostGate, HostGateParts
from keyturn.gates.host.recorded import RecordedLogins
from keyturn.grants import bundle as bundles
from keyturn.grants.view import GateView
from keyturn.trust.history import TrustHistory
from keyturn.wiring.found_log import FoundLog
from keyturn.wiring.set_up import ROOT_BYTES_MAX

__all__ = ["LOOK_WITHIN_S", "OpenedHostGate", "banner_beside", "bring", "open_host_gate", "read_config"]

LOOK_WITHIN_S = 2.0
LOOK_AT_LOGIN_WITHIN_S = 5.0
_WATCH_EVERY_S = 0.5
_LOG_EVERY_S = 2.0
_SAY_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class _BelievedNow:
    """The view that decisions are made by: what was believed last, with all that was read or pushed since that takes away."""

    followed: FollowedLog
    pushed: PushedNegatives

    @property
    def believed(self) -> GateView:
        return self.pushed.over(self.followed.believed.knowing(self.followed.seen.known))

    def refresh(self) -> GateView:
        return self.believed

    def await_witnessed(self, index: int, raw: bytes) -> None:
        self.followed.await_witnessed(index, raw)


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
            for name, work in (
                ("follow", lambda: self.followed.run(stop)),
                ("watch", lambda: self._watch(stop)),
                ("banner", lambda: self._say_when_closed(stop, banner_beside(socket))),
                ("log", lambda: self._log(stop)),
                ("answer", lambda: answering.serve(self.answer)),
            ):
                threading.Thread(target=_or_die, args=(work, stop), name=name, daemon=True).start()
            try:
                yield
            finally:
                stop.set()
                _say_at(banner_beside(socket), "its verifier does not run")

    def _watch(self, stop: threading.Event) -> None:
        while not stop.wait(_WATCH_EVERY_S):
            self.gate.watch()

    def _say_when_closed(self, stop: threading.Event, banner: Path) -> None:
        before: str | None = None
        while True:
            closed = self.door.closed()
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
    key = read_key(directory / "key", passphrase=None)
    root = read_small(directory / "root.json", size_bytes_max=ROOT_BYTES_MAX)
    history: TrustHistory = TrustHistory.start(root, pinned_sha256=config.pinned_root)
    clock, entropy, log = SystemClock(), SystemEntropy(), FoundLog(lambda: config.service)
    followed = FollowedLog(
        history,
        gate=config.resource,
        key=key,
        stricter=Stricter(witnesses_min=config.witnesses_min, log_age_max_s=config.log_age_max_s),
        log=log,
        clock=clock,
        entropy=entropy,
        pause=pause,
    )
    state = directory / "state"
    pushed = PushedNegatives(PushedFiles(state / "pushed"), clock)
    now = _BelievedNow(followed, pushed)
    inbox = HostInbox(directory / "inbox")
    glass = BreakGlassDoor(
        gate=config.resource,
        key=key,
        followed=now,
        writer=log,
        journal=BreakGlassJournalFiles(state),
        clock=clock,
        entropy=entropy,
    )
    user = _user(config.user)
    door = HostDoor(
        gate=config.resource,
        host=config.host,
        accounts=config.accounts,
        view=lambda: now.believed,
        seen=lambda: followed.seen,
        strict=followed.require_strict,
        brought=lambda: _brought(inbox),
        glass=glass,
        user_id=_user_id,
        clock=clock,
    )
    gate = HostGate(
        HostGateParts(
            gate=config.resource,
            key=key,
            door=door,
            journal=HostJournalFiles(state),
            processes=LinuxHost(helper=user.pw_uid),
            recorded=RecordedLogins(
                DecisionFiles(state / "decisions"), gate=config.resource, host=config.host, clock=clock
            ),
            writer=log,
            clock=clock,
            entropy=entropy,
            obey=lambda negative: pushed.take(negative, followed.seen),
            seen=lambda: followed.seen,
            program=str(program),
            say=lambda event, message, err: process_log.say("warning", event, message, err=err),
        )
    )
    return OpenedHostGate(config, gate, door, glass, FollowedAlways(followed, _once_each()), user.pw_uid, user.pw_gid)


def banner_beside(socket: Path) -> Path:
    """Where sshd finds what it says to everybody before a login: nothing at all while the gate is open."""
    return socket.with_name("banner")


def _say_at(banner: Path, why: str) -> None:
    text = f"keyturn: this host lets nobody in now: {why}\n" if why else ""
    with suppress(KeyturnError):  # a full disk, which its operator hears of otherwise
        replace_file(banner, text.encode(), mode=0o644)


def bring(directory: Path, raw: bytes) -> str:
    """Put the break-glass bundle or recovery grant `raw` into the gate's inbox; gives which it is, or raises `Malformed`."""
    inbox = HostInbox(directory / "inbox")
    try:
        pending_in(bundles.parse(raw))
    except Malformed:
        recovery_in(raw)
        inbox.put(raw, "recovery")
        return "recovery grant"
    inbox.put(raw, "bundle")
    return "break-glass bundle"


def _brought(inbox: HostInbox) -> Brought:
    found, recoveries = [], []
    for raw in inbox.files("bundle"):
        with suppress(KeyturnError):  # whoever can write there can bring anything: what is no bundle opens nothing
            bundle = bundles.parse(raw)
            found.append((pending_in(bundle).made, bundle))
    for raw in inbox.files("recovery"):
        with suppress(KeyturnError):
            envelope, made = recovery_in(raw)
            recoveries.append((made, envelope))
    return Brought(tuple(found), tuple(recoveries))


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


def _once_each() -> Callable[[KeyturnError | None], None]:
    """Say of a failure that it began, once for as long as it is the same."""
    before = [""]

    def said(err: KeyturnError | None) -> None:
        code = "" if err is None else err.code
        if code and code != before[0]:
            process_log.say("warning", "log-not-followed", err=err)
        elif before[0] and not code:
            process_log.say("info", "log-followed", "the log is followed again")
        before[0] = code

    return said


def _or_die(work: Callable[[], None], stop: threading.Event) -> None:
    """Do `work`; when it ends before `stop`, so does the process: without one of its threads a gate would be half a gate."""
    doing = threading.Thread(target=work, daemon=True)  # what ends it, Python prints
    doing.start()
    doing.join()
    if not stop.is_set():
        os._exit(70)  # EX_SOFTWARE
