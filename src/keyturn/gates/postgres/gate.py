"""Let people into a database by their grants, watch that they stand, and end what does not: the postgres gate around its door.

To open, when somebody proved a session key by signing a certificate request with it:
1. the server has no other way in as a role of a grant, or as the gate's own account;
2. the door says by which grant the key opens, and with what;
3. the decision is written down, and the gate's signed use of the grant: what cannot be kept opens nothing. Of break-glass the
   door kept it already; of a recovery grant the log is told the grant itself;
4. the role is made, in one transaction that is undone when the role could do anything that the grant does not say;
5. a certificate over the session key is given, good for `CERTIFICATE_S` and never beyond the window. It is no secret, and whoever
   wants to connect later asks again: a gate that is dead lets nobody in.

To watch, twice a second, for each role that is there:
1. whose grant the door would not give again, for whatever reason: all these are shut at once, and their connections ended;
2. then they are dropped. What keeps one of them (a lock) costs a look once: those that were kept before come last;
3. whose grant limits how long a statement runs: what runs longer is ended (what the role's own settings say is the session's to
   change);
4. connections of roles that are gone already are ended too.
A watch that could not look `BLIND_LOOKS` times in a row ends every connection by a grant, and looks again.

A gate that starts ends every role first: it was not there to see whether they stood. Whose process dies or stands still meanwhile
is outlived by a watchman inside the server (`adapters.postgres.grant_roles`), who ends every connection that came in by a grant.

Overlapping grants of one person are roles of their own: the end of one neither ends nor prolongs another.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from keyturn.crypto.keys import PublicKey
from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import KeyturnError
from keyturn.formats import dsse
from keyturn.formats.uri import Uri
from keyturn.gates.postgres.door import DatabaseDoor, Opened
from keyturn.gates.postgres.needs import GrantRoles, SessionCertificates
from keyturn.gates.postgres.recorded import RecordedOpenings
from keyturn.gates.uses import UseJournal, log_what_waits
from keyturn.gates.words import Serves, signed_entry, signed_obedience, signed_use
from keyturn.grants.pushed import Pushed
from keyturn.grants.view import GateView
from keyturn.ports import Clock, Entropy, LogWriter

__all__ = ["CERTIFICATE_S", "DatabaseGate", "DatabaseGateParts", "LetIn"]

CERTIFICATE_S: Final = 60
BLIND_LOOKS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseGateParts:
    """What a postgres gate is made of. `obey` takes what takes access away before the log has it; `say` tells its operator."""

    gate: Uri
    serves: Serves
    key: SoftwareKey
    door: DatabaseDoor
    roles: GrantRoles
    certificates: SessionCertificates
    journal: UseJournal
    recorded: RecordedOpenings
    writer: LogWriter
    clock: Clock
    entropy: Entropy
    obey: Callable[[bytes], Pushed]
    seen: Callable[[], GateView]
    say: Callable[[str, str, KeyturnError | None], None]


@dataclass(frozen=True, slots=True)
class LetIn:
    """As which role, by which certificate (PEM), until when (POSIX seconds) the sessions last; `signed` says it, and where."""

    role: str
    certificate: bytes
    ends_at: int
    signed: bytes


class DatabaseGate:
    """One database's gate. Safe for threads. No opening, however long the server takes for it, keeps the watch waiting."""

    def __init__(self, parts: DatabaseGateParts) -> None:
        self._parts = parts
        self._opening = threading.Lock()
        self._watching = threading.Lock()
        self._blind = 0
        self._kept: dict[str, int] = {}

    def start(self) -> None:
        """End what a gate before left behind. Nobody is let in until this returned."""
        with self._watching:
            self._parts.roles.begin()
            self._end(dict.fromkeys(self._parts.roles.standing()))
            self._parts.roles.end_strays()

    def let_in(self, key: PublicKey) -> LetIn:
        """Make the role of the grant that `key` opens, and give the certificate to connect by; raises when nothing opens."""
        parts = self._parts
        with self._opening:
            try:
                parts.roles.require_closed()  # (1)
                opened = parts.door.open(key)  # (2)
                if not parts.roles.has(opened.role):
                    self._keep(opened)  # (3)
                    parts.roles.make(  # (4)
                        opened.role,
                        opened.schema,
                        opened.privileges,
                        terms=opened.terms,
                        ends_at=opened.standing.ends_at,
                    )
            except KeyturnError as err:
                parts.recorded.refused(err)
                raise
            now, ends_at = parts.clock.now(), opened.standing.ends_at
            certificate = parts.certificates.issue(  # (5)
                opened.key, opened.role, now=now, until=min(now + CERTIFICATE_S, ends_at)
            )
            signed = signed_entry(
                opened.role,
                certificate,
                parts.serves,
                ends_at=ends_at,
                gate=parts.gate,
                key=parts.key,
                clock=parts.clock,
            )
            return LetIn(opened.role, certificate, ends_at, signed)

    def closed(self) -> KeyturnError | None:
        """Why nobody would be let in by a grant now, whoever asks: the log, the server, gate.toml; None when somebody would."""
        try:
            self._parts.roles.require_closed()
        except KeyturnError as err:
            return err
        return self._parts.door.closed()

    def watch(self) -> int:
        """Look at every role once, and end what does not stand; gives how many do. `Unavailable`: the server does not answer."""
        with self._watching:
            try:
                standing = self._look()
            except KeyturnError:
                self._blind += 1
                if self._blind < BLIND_LOOKS:
                    raise
                # INVARIANT: who takes the server's last lock is not left alone with it.
                self._parts.roles.end_all()
                standing = self._look()
            self._blind = 0
            return standing

    def log_what_waits(self) -> int:
        """Log the uses that wait for it; gives how many those were. Raises as the log does."""
        return log_what_waits(self._parts.journal, self._parts.writer, self._parts.say)

    def obey(self, negative: bytes) -> bytes:
        """Obey the signed denial, revocation or suspension `negative`, end what came in by it, and give the gate's word."""
        parts = self._parts
        found = parts.obey(negative)
        self.watch()
        return signed_obedience(
            found,
            size=parts.seen().frontier.size,
            acted=found.request is not None and parts.journal.is_used(found.request),
            gate=parts.gate,
            key=parts.key,
            clock=parts.clock,
        )

    def _look(self) -> int:
        over: dict[str, KeyturnError | None] = {}
        held: list[Opened] = []
        for role, may_connect in self._parts.roles.standing().items():
            try:
                opened = self._parts.door.stands(role)
            except KeyturnError as err:
                over[role] = err
            else:
                if may_connect:
                    held.append(opened)
                else:
                    over[role] = None
        if over:
            self._end(over)
        for opened in held:  # (3)
            if opened.terms is not None and opened.terms.statement_s is not None:
                self._parts.roles.end_statements(opened.role, longer_than_s=opened.terms.statement_s)
        self._parts.roles.end_strays()  # (4)
        return len(held)

    def _end(self, over: Mapping[str, KeyturnError | None]) -> None:
        self._parts.roles.shut(over)  # (1)
        self._kept = {role: times for role, times in self._kept.items() if role in over}
        for role in sorted(over, key=lambda role: self._kept.get(role, 0)):  # (2)
            try:
                if self._parts.roles.drop(role):
                    self._parts.say("role-ended", role, over[role])
            except KeyturnError as err:
                self._kept[role] = self._kept.get(role, 0) + 1
                self._parts.say("role-not-ended", role, err)
                return

    def _keep(self, opened: Opened) -> None:
        parts, found = self._parts, opened.standing
        parts.recorded.granted(found)
        if found.how == "break-glass" or parts.journal.is_used(found.digest):
            return  # of break-glass it was kept before the door gave it
        if found.record is not None:
            use = dsse.render(found.record)
        else:
            use = signed_use(
                found.digest, found.approvals, gate=parts.gate, key=parts.key, clock=parts.clock, entropy=parts.entropy
            )
        parts.journal.keep_use(found.digest, use)
