"""Answer sshd, watch what came in, and end it: the host gate around its door.

To answer for a key (sshd asks twice for each login: when the client offers the key, and when it has proved it):
1. sshd's own process, on whose behalf is asked, is found; nobody else is answered;
2. the door says by which grant the key opens the account;
3. the decision is written down (which is all that a gate does that observes), and the connection with its grant, durably: what
   cannot be kept opens nothing;
4. only now sshd gets the line.

To watch, twice a second, for each connection that was answered for:
1. of which no process is left: forgotten;
2. that is behind its login, at two looks in a row: the grant was used, and the gate signs so once for each grant and keeps it for
   the log. An offered key proves nothing, so an answer alone is no use;
3. whose grant the door would not give again: told so at its terminals, and at the next look ended with everything that it
started.
   It is looked at until nothing is left. A gate that was started again first needs a view: for `FIRST_VIEW_WITHIN_S` it ends what
   it found alive by the window's end alone.

A connection lives by the grant of its last answer: sshd asks last for the key that it lets in. So grants that overlap are told
apart by key, and the end of one neither ends nor prolongs the other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from keyturn.crypto.keys import PublicKey
from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import KeyturnError, Refused
from keyturn.formats import dsse
from keyturn.formats.digest import Sha256
from keyturn.formats.host_session import HostSession, SshdConnection, SshdState
from keyturn.formats.uri import Uri
from keyturn.gates.host.authorized_key import authorized_key
from keyturn.gates.host.door import HostDoor, Opened
from keyturn.gates.host.needs import HostJournal, HostProcesses
from keyturn.gates.host.observing import Observing
from keyturn.gates.host.recorded import RecordedLogins
from keyturn.gates.uses import log_what_waits
from keyturn.gates.words import signed_obedience, signed_use
from keyturn.grants.pushed import Pushed
from keyturn.grants.view import GateView
from keyturn.ports import Clock, Entropy, LogWriter

__all__ = ["FIRST_VIEW_WITHIN_S", "HostGate", "HostGateParts"]

FIRST_VIEW_WITHIN_S = 60
_ENFORCE = "keyturn gate host install, without --observe-until"
JUDGED_EVERY_S = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class HostGateParts:
    """What a host gate is made of. `obey` takes what takes access away before the log has it; `program` is the path of what sshd
    and sessions run; `say` tells whoever operates the host."""

    gate: Uri
    key: SoftwareKey
    door: HostDoor
    journal: HostJournal
    processes: HostProcesses
    recorded: RecordedLogins
    writer: LogWriter
    clock: Clock
    entropy: Entropy
    obey: Callable[[bytes], Pushed]
    seen: Callable[[], GateView]
    program: str
    observes: bool
    say: Callable[[str, str, KeyturnError | None], None]


class HostGate:
    """One host's gate. Safe for threads: logins, the watch and what takes away wait for each other a moment."""

    def __init__(self, parts: HostGateParts) -> None:
        self._parts = parts
        self._lock = threading.RLock()
        self._sessions = {one.name: one for one in parts.journal.sessions()}
        # INVARIANT: what was let in and stands in no journal any more (an old copy of it was put back) ends.
        left = () if parts.observes else parts.processes.confined()
        self._unknown = {one.name for one in left} - self._sessions.keys()
        self._sessions |= {one.name: one for one in left if one.name in self._unknown}
        self._started_at = parts.clock.now()
        self._behind: set[str] = set()
        self._ending: set[str] = set()
        self._judged: dict[str, tuple[int, int]] = {}
        self._observing = Observing(parts.processes, parts.recorded)

    def answer(self, account: str, key: PublicKey, *, pid: int) -> str:
        """The line of authorized_keys for `key`, asked for by process `pid`; raises when it opens nothing."""
        parts = self._parts
        connection = parts.processes.asking(pid)  # (1)
        with self._lock:
            try:
                opened = parts.door.open(account, key)  # (2)
            except KeyturnError as err:
                parts.recorded.refused(account, err)
                raise
            if parts.observes:
                # INVARIANT: a gate that observes gives no line, whatever was granted: what else sshd has decides.
                parts.recorded.granted(opened)
                self._observing.would_let_in(connection)
                raise Refused(
                    "gate-observes", f"it would let `{opened.beneficiary}` in, and this gate observes", hint=_ENFORCE
                )
            known = self._sessions.get(_name(connection))
            if known is None or (known.digest, known.account) != (opened.digest, account):
                parts.recorded.granted(opened)  # (3)
                if opened.record is not None and not parts.journal.is_used(opened.digest):
                    parts.journal.keep_use(opened.digest, dsse.render(opened.record))
                self._keep(self._answered(connection, opened, key))
                self._unknown.discard(_name(connection))
            return authorized_key(opened, key, program=parts.program)  # (4)

    def watch(self, *, at_once: bool = False) -> int:
        """Look at every connection once; gives how many there are. Raises nothing that one connection is the cause of.

        Whose log has not grown is judged every `JUDGED_EVERY_S` again, unless `at_once`.
        """
        with self._lock:
            for session in list(self._sessions.values()):
                try:
                    self._look_at(session, at_once=at_once)
                except KeyturnError as err:
                    self._parts.say("session-unwatched", f"connection of process {session.pid}", err)
            if self._parts.observes:
                self._observing.look()
            return len(self._sessions)

    def log_what_waits(self) -> int:
        """Log the uses that wait for it; gives how many those were. Raises as the log does."""
        return log_what_waits(self._parts.journal, self._parts.writer, self._parts.say)

    def obey(self, negative: bytes) -> bytes:
        """Obey the signed denial, revocation or suspension `negative`, end what went in by it, and give the gate's word for
        it."""
        parts = self._parts
        found = parts.obey(negative)
        for _ in range(2):  # at the second look it is ended
            self.watch(at_once=True)
        return signed_obedience(
            found,
            size=parts.seen().frontier.size,
            acted=found.request is not None and parts.journal.is_used(found.request),
            gate=parts.gate,
            key=parts.key,
            clock=parts.clock,
        )

    def _answered(self, connection: SshdConnection, opened: Opened, key: PublicKey) -> HostSession:
        return HostSession(
            version=1,
            boot=connection.boot,
            pid=connection.pid,
            started=connection.started,
            how=opened.how,
            digest=opened.digest,
            account=opened.account,
            key=key.text,
            approvals=opened.approvals,
            asked_at=self._parts.clock.now(),
            ends_at=opened.ends_at,
            cgroups=self._parts.processes.confine(connection),
        )

    def _look_at(self, session: HostSession, *, at_once: bool) -> None:
        parts = self._parts
        state = parts.processes.look(session)
        if not state.alive:  # (1)
            self._sessions.pop(session.name, None)
            self._behind.discard(session.name)
            self._ending.discard(session.name)
            self._unknown.discard(session.name)
            self._judged.pop(session.name, None)
            parts.journal.forget_session(session)
            return
        try:
            session = self._noted(session, state)  # (2)
        except KeyturnError as err:
            # INVARIANT: a full disk keeps no session alive: what cannot be written down is said, and the session is judged.
            parts.say("session-unwatched", f"connection of process {session.pid}", err)
        now, size = parts.clock.now(), parts.seen().frontier.size
        known, at = self._judged.get(session.name, (-1, 0))
        if not at_once and known == size and at <= now < min(at + JUDGED_EVERY_S, session.ends_at):
            return
        why = self._over(session, now=now)
        if why is None:
            self._judged[session.name] = (size, now)
            return
        if session.name not in self._ending:  # (3)
            self._ending.add(session.name)
            parts.processes.tell(session, f"keyturn: this session ends: {why.message}")
            parts.say("session-ended", f"process {session.pid}, account {session.account}", why)
        else:
            parts.processes.end(session)

    def _noted(self, session: HostSession, state: SshdState) -> HostSession:
        """`session` as it was seen now, kept, and with it that its grant was used."""
        came_in = session.came_in or (state.came_in and session.name in self._behind)
        if state.came_in:
            self._behind.add(session.name)
        if session.name in self._unknown:
            return msgspec.structs.replace(session, cgroups=state.cgroups)
        if came_in and not session.came_in:
            self._use(session)
        if (came_in, state.cgroups) != (session.came_in, session.cgroups):
            session = msgspec.structs.replace(session, came_in=came_in, cgroups=state.cgroups)
            self._keep(session)
        return session

    def _over(self, session: HostSession, *, now: int) -> KeyturnError | None:
        """Why the door would not give the grant of `session` again; None when it would, or when nobody can know yet."""
        parts = self._parts
        if session.name in self._unknown:
            return Refused(
                "session-unknown",
                "the gate's journal does not say by which grant it came in",
                hint="come in again by a grant",
            )
        try:
            parts.door.stands(session.how, Sha256(session.digest), session.account, PublicKey.from_text(session.key))
        except KeyturnError as err:
            starting = now < self._started_at + FIRST_VIEW_WITHIN_S and now < session.ends_at
            return None if err.code == "view-empty" and starting else err
        return None

    def _use(self, session: HostSession) -> None:
        parts = self._parts
        if session.how != "grant" or parts.journal.is_used(session.digest):
            return  # of break-glass and of recovery it was kept before they were let in
        use = signed_use(
            session.digest, session.approvals, gate=parts.gate, key=parts.key, clock=parts.clock, entropy=parts.entropy
        )
        parts.journal.keep_use(session.digest, use)

    def _keep(self, session: HostSession) -> None:
        self._parts.journal.keep_session(session)
        self._sessions[session.name] = session


def _name(connection: SshdConnection) -> str:
    return f"{connection.boot}-{connection.pid}-{connection.started}"
