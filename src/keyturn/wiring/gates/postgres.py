"""Set up and open a postgres gate in its directory: `gate.toml`, `root.json`, `key`, `ca.key`, `ca.pem`, `inbox/`, `state/`.

It lies beside a lab's directory as a release gate does, or alone on the database's machine (`gates/<name>` below any directory).
Every thread that a gate lives by ends the process when it ends: half a gate would be none, and the watchman in the server would
not know.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from keyturn.adapters import process_log
from keyturn.adapters.clock import SystemClock, SystemEntropy
from keyturn.adapters.files.break_glass_journal import BreakGlassJournalFiles
from keyturn.adapters.files.decision_files import DecisionFiles
from keyturn.adapters.files.gate_inbox import GateInbox
from keyturn.adapters.files.use_journal import UseJournalFiles
from keyturn.adapters.keys.session_certificates import SessionAuthority, make_authority, read_request
from keyturn.adapters.postgres import grant_doors
from keyturn.adapters.postgres.grant_roles import GrantRolesInPostgres, ServerPlace
from keyturn.app.gates.follow_always import FollowedAlways
from keyturn.config import postgres_gate as gate_config
from keyturn.config.postgres_gate import Database, PostgresGateConfig
from keyturn.crypto.keys import PublicKey
from keyturn.errors import KeyturnError, Unavailable
from keyturn.formats.sql_privileges import Privileges
from keyturn.formats.uri import Uri
from keyturn.gates.break_glass import BreakGlassDoor
from keyturn.gates.postgres.door import DatabaseDoor
from keyturn.gates.postgres.gate import DatabaseGate, DatabaseGateParts, LetIn
from keyturn.gates.postgres.recorded import RecordedOpenings
from keyturn.gates.session_grants import SessionGrants
from keyturn.gates.words import Serves
from keyturn.wiring.gates import inbox as gate_inbox
from keyturn.wiring.gates.process import BelievedNow, always, following, said_once, start_all
from keyturn.wiring.gates.set_up import gate_file, root_to_pin, set_up
from keyturn.wiring.lab.places import LabPlace

__all__ = [
    "LOOK_WITHIN_S",
    "OpenedPostgresGate",
    "bring",
    "end_all",
    "init_gate",
    "open_gate",
    "read_config",
    "what_to_type",
]

LOOK_WITHIN_S = 3.0
_WATCH_EVERY_S = 0.5
_LOG_EVERY_S = 1.0
_END_WITHIN_S = 20.0
READING = Privileges(tables=("SELECT",), sequences=("SELECT",))
WRITING = Privileges(tables=("SELECT", "INSERT", "UPDATE", "DELETE"), sequences=("USAGE", "SELECT"))


def init_gate(
    place: LabPlace, database: Database, *, name: str, service: str, pin: str | None
) -> tuple[PostgresGateConfig, PublicKey]:
    """Write the gate's configuration, pinned root, key and certificate authority; nothing is overwritten."""
    history = root_to_pin(place, pin)
    config = PostgresGateConfig(
        name=name,
        resource=Uri(history.lab, "gate", name),
        service=service,
        pinned_root=history.root_sha256,
        database=database,
        actions={"db:read": READING, "db:write": WRITING},
    )
    text = gate_config.render(config)
    gate_config.parse(text, where="options")
    directory = place.directory / "gates" / name
    if not (directory / "ca.pem").exists():
        make_authority(directory, name=name, now=SystemClock().now())
    return config, set_up(directory, "gate.toml", text, pinned=history)


def what_to_type(config: PostgresGateConfig, directory: Path, *, owner: str) -> dict[str, tuple[str, ...]]:
    """What a superuser of the server does once: lines for its files, and statements for this database."""
    named = config.database
    return {
        "pg_hba.conf": grant_doors.hba_lines(named.name),
        "pg_ident.conf": (grant_doors.ident_line(named.user),),
        "sql": grant_doors.setting_up(named.name, owner=owner, ca_file=str(directory / "ca.pem")),
    }


def read_config(place: LabPlace, name: str) -> PostgresGateConfig:
    """Read the gate's configuration, or raise `Usage` saying how to make one."""
    directory = place.directory / "gates" / name
    raw = gate_file(directory, hint=f"keyturn gate postgres init {name}")
    return gate_config.parse(raw, where=str(directory / "gate.toml"))


def bring(place: LabPlace, name: str, raw: bytes) -> str:
    """Put the break-glass bundle or recovery grant `raw` into the inbox of the gate; gives which it is, or raises `Malformed`."""
    return gate_inbox.bring(GateInbox(place.directory / "gates" / name / "inbox"), raw)


def end_all(place: LabPlace, name: str) -> tuple[str, ...]:
    """End every role and connection by a grant, without log, key or gate; gives the roles. `Unavailable` when one is left."""
    config = read_config(place, name)
    roles, until = _roles(config), time.monotonic() + _END_WITHIN_S
    found: set[str] = set()
    while standing := roles.standing():
        found.update(standing)
        roles.shut(standing)
        left = [role for role in standing if not roles.drop(role)]
        if left and time.monotonic() > until:
            raise Unavailable(
                "database-left",
                f"`{left[0]}` still has connections, or cannot be dropped",
                hint="run it again; the server's own log may say more",
            )
    roles.end_strays()
    return tuple(sorted(found))


@dataclass(frozen=True, slots=True)
class OpenedPostgresGate:
    """A postgres gate and what keeps it going."""

    config: PostgresGateConfig
    gate: DatabaseGate
    glass: BreakGlassDoor
    followed: FollowedAlways

    def let_in(self, request: bytes) -> LetIn:
        """Answer a certificate request; looks at the log once before it refuses, for what was approved a moment ago."""
        key = read_request(request)
        try:
            return self.gate.let_in(key)
        except KeyturnError:
            self.followed.look(LOOK_WITHIN_S)
        return self.gate.let_in(key)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Follow and watch for as long as the block runs; nobody stays in behind it."""
        stop = threading.Event()
        self.gate.start()
        works = {
            "follow": lambda: self.followed.run(stop),
            "watch": lambda: self._watch(stop),
            "log": lambda: self._log(stop),
        }
        start_all(works, stop)
        try:
            yield
        finally:
            stop.set()
            with suppress(KeyturnError):  # then the watchman ends what is connected
                self.gate.start()

    def _watch(self, stop: threading.Event) -> None:
        said = said_once("database-unwatched", "the database is watched again")
        while not stop.wait(_WATCH_EVERY_S):
            try:
                self.gate.watch()
                said(None)
            except KeyturnError as err:
                said(err)

    def _log(self, stop: threading.Event) -> None:
        while not stop.wait(_LOG_EVERY_S):
            with suppress(KeyturnError):  # the log cannot be reached, which whoever follows it says
                self.gate.log_what_waits()
                self.glass.log_what_waits()


def open_gate(place: LabPlace, name: str) -> OpenedPostgresGate:
    """Make the postgres gate `name`: reads its keys once, and pins its root."""
    config = read_config(place, name)
    directory = place.directory / "gates" / name
    it = following(config, directory, service=lambda: config.service)
    clock, state = SystemClock(), directory / "state"
    database, named = Uri.parse(config.database.uri), config.database
    # What is known of takings-away is newer than what was believed with a nonce: a witness that is slow keeps nobody in.
    now, inbox = BelievedNow(it.followed, it.pushed), GateInbox(directory / "inbox")
    glass = BreakGlassDoor(
        gate=config.resource,
        key=it.key,
        followed=now,
        writer=it.log,
        journal=BreakGlassJournalFiles(state),
        clock=clock,
        entropy=SystemEntropy(),
    )
    standing = SessionGrants(
        gate=config.resource,
        view=lambda: now.believed,
        seen=lambda: it.followed.seen,
        strict=it.followed.require_strict,
        brought=lambda: gate_inbox.brought(inbox),
        glass=glass,
        clock=clock,
    )
    door = DatabaseDoor(standing, database=database, actions=config.actions)
    gate = DatabaseGate(
        DatabaseGateParts(
            gate=config.resource,
            serves=Serves(address=named.address, port=named.port, database=named.name),
            key=it.key,
            door=door,
            roles=_roles(config),
            certificates=SessionAuthority(directory),
            journal=UseJournalFiles(state),
            recorded=RecordedOpenings(
                DecisionFiles(state / "decisions"), gate=config.resource, database=database, clock=clock
            ),
            writer=it.log,
            clock=clock,
            entropy=SystemEntropy(),
            obey=lambda negative: it.pushed.take(negative, it.followed.seen),
            seen=lambda: it.followed.seen,
            say=lambda event, role, err: process_log.say("info", event, err=err, about={"role": role}),
        )
    )
    return OpenedPostgresGate(config, gate, glass, always(it.followed.refresh))


def _roles(config: PostgresGateConfig) -> GrantRolesInPostgres:
    named = config.database
    server = ServerPlace(
        socket=named.socket, port=named.port, database=named.name, user=named.user, connections=named.connections
    )
    return GrantRolesInPostgres(server, definers=named.definers)
