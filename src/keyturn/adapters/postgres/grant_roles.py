"""Make and end the roles of grants in one PostgreSQL database: `gates.postgres.needs.GrantRoles`.

The gate is on the database's machine and comes in by its Unix socket as `keyturn_gate`, by peer authentication: no password of
that account is anywhere. Four connections, so that none waits for another: openings, the watch, the watchman, and the last one.

**The watchman** is a loop in the server, in a backend of the gate's account. It outlives the gate's process: when the watch has
asked nothing for `SILENT_S` (killed, stopped, hung), it ends every connection of a role of a grant, and goes on doing so until
the next gate replaces it. The watch starts it again when somebody ended it. It ends with the server, as all connections do.

**The last one** ends connections when the watch cannot: any session can take locks until the server has no memory for another,
and then nobody can read which roles there are, the watchman neither. So it keeps a transaction open that holds already what it
needs for that. It is idle, and holds back no vacuum.

Names are composed by psycopg.sql, and every session has `search_path = pg_catalog`: the gate calls nothing that a role made.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

import psycopg
from psycopg import errors as sql_errors
from psycopg import sql
from psycopg.pq import TransactionStatus

from keyturn.adapters.postgres import grant_doors
from keyturn.adapters.postgres.grant_doors import Only
from keyturn.errors import Refused, Unavailable
from keyturn.formats.database_terms import DatabaseTerms
from keyturn.formats.sql_privileges import Privileges

__all__ = ["SILENT_S", "GrantRolesInPostgres", "ServerPlace"]

SILENT_S: Final = 3
_WATCH, _OPEN, _WATCHMAN, _LAST = "keyturn-watch", "keyturn-open", "keyturn-watchman", "keyturn-last"
_BOUNDED = (
    "-c lock_timeout=1s -c statement_timeout=2s -c idle_in_transaction_session_timeout=2s -c search_path=pg_catalog"
)
_UNBOUNDED = "-c statement_timeout=0 -c client_connection_check_interval=0 -c search_path=pg_catalog"
_WAITING = "-c statement_timeout=2s -c idle_in_transaction_session_timeout=0 -c idle_session_timeout=0 -c search_path=pg_catalog"
_ENDED_WITHIN_MS = 1000
_CANCELLED_WITHIN_S = 2

_CONNECTIONS = """
SELECT a.pid FROM pg_stat_activity a LEFT JOIN pg_roles r ON r.oid = a.usesysid
WHERE a.datid IS NOT NULL AND a.usesysid IS NOT NULL AND a.pid <> pg_backend_pid()
"""
_OF_ROLES = f"{_CONNECTIONS} AND r.rolname = ANY (%s)"
_STRAYS = f"{_CONNECTIONS} AND r.oid IS NULL"
_LOOP = f"""
DO $$
BEGIN
  LOOP
    IF coalesce((SELECT max(state_change) FROM pg_stat_activity
                 WHERE usesysid = current_user::regrole AND application_name = '{_WATCH}'), '-infinity')
       < clock_timestamp() - interval '{SILENT_S} s'
    THEN
      PERFORM pg_terminate_backend(c.pid) FROM ({_CONNECTIONS} AND (r.oid IS NULL OR r.rolname ~ '^kt_[0-9a-f]{{32}}$')) c;
    END IF;
    COMMIT;
    PERFORM pg_sleep(0.5);
    COMMIT;
  END LOOP;
END $$
"""  # noqa: S608  # made of constants of this file
_MAY_CONNECT = "rolcanlogin AND has_database_privilege(oid, current_database(), 'CONNECT')"
_STANDING = f"SELECT rolname, {_MAY_CONNECT} FROM pg_roles WHERE rolname ~ '^kt_[0-9a-f]{{32}}$'"  # noqa: S608  # as above
_HOLD = "SELECT count(*) FROM pg_roles UNION ALL SELECT count(*) FROM pg_auth_members"
_END_ALL = """
SELECT pg_terminate_backend(a.pid, 100) FROM
  (SELECT pg_stat_get_backend_pid(i) pid, pg_stat_get_backend_userid(i) of FROM pg_stat_get_backend_idset() i) a
WHERE pg_get_userbyid(a.of) ~ '^kt_[0-9a-f]{32}$'
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerPlace:
    """Where the database is: the directory of its server's Unix socket, its port, and its name. `user` of the operating system
    runs the gate, and `connections` at most are let in by one grant.
    """

    socket: str
    port: int
    database: str
    user: str
    connections: int


class GrantRolesInPostgres:
    """The roles of grants in the database at `place`; `definers` are the SECURITY DEFINER functions that may be called."""

    def __init__(self, place: ServerPlace, *, definers: Sequence[str]) -> None:
        _forget_environment()
        self._place = place
        self._definers = tuple(definers)
        self._opening = _Kept(lambda: self._connect(_OPEN, _BOUNDED))
        self._watching = _Kept(lambda: self._connect(_WATCH, _BOUNDED))
        self._watchman: psycopg.Connection[tuple[Any, ...]] | None = None
        self._last: psycopg.Connection[tuple[Any, ...]] | None = None

    def require_closed(self) -> None:
        with self._opening.borrowed() as db:
            found = grant_doors.other_ways_in(db, database=self._place.database, user=self._place.user)
        if found:
            raise Refused(
                "database-other-door",
                f"the server lets people in by more than this gate: {'; '.join(found)}",
                hint="keyturn gate postgres init NAME shows what pg_hba.conf and pg_ident.conf must say",
            )

    def has(self, role: str) -> bool:
        with self._opening.borrowed() as db:
            return bool(db.execute(f"{_STANDING} AND rolname = %s AND {_MAY_CONNECT}", (role,)).fetchall())

    def standing(self) -> Mapping[str, bool]:
        with self._watching.borrowed() as db:
            self._keep_watchman(db)
            self._keep_last()
            return dict(db.execute(_STANDING).fetchall())

    def make(
        self, role: str, schema: str, privileges: Privileges, *, terms: DatabaseTerms | None, ends_at: int
    ) -> None:
        place = self._place
        if terms is not None and terms.connections is not None:
            place = replace(place, connections=min(place.connections, terms.connections))
        with self._opening.borrowed() as db, db.transaction():
            _require_schema(db, schema)
            only = None if terms is None or not terms.tables else _only(db, schema, terms.tables)
            for statement in _making(role, schema, privileges, only, place=place, ends_at=ends_at):
                db.execute(statement)
            if (
                terms is not None and terms.statement_s is not None
            ):  # what is told at once; `end_statements` is what holds
                db.execute(
                    sql.SQL("ALTER ROLE {} SET statement_timeout = {}").format(
                        sql.Identifier(role), sql.Literal(f"{terms.statement_s}s")
                    )
                )
            # Functions with their owner's rights are for whoever has all that the action may do.
            definers = () if terms is not None and (terms.read_only or terms.tables) else self._definers
            found = grant_doors.more_than_granted(db, role, schema, privileges, only, definers=definers)
            if found:
                raise Refused(
                    "database-role-more",
                    f"whoever is let in could do more than the grant says: {'; '.join(found[:20])}",
                    hint="take it from PUBLIC with REVOKE, or list a function in `definers` of gate.toml",
                )

    def end_statements(self, role: str, *, longer_than_s: int) -> None:
        with self._watching.borrowed() as db:
            for how, after_s in (("cancel", longer_than_s), ("terminate", longer_than_s + _CANCELLED_WITHIN_S)):
                db.execute(
                    sql.SQL(
                        "SELECT {}(a.pid) FROM pg_stat_activity a WHERE a.usename = %s AND a.state <> 'idle' "
                        "AND a.state !~ 'idle in transaction' AND a.query_start < clock_timestamp() - make_interval(secs => %s)"
                    ).format(sql.Identifier(f"pg_{how}_backend")),
                    (role, after_s),
                )

    def shut(self, roles: Collection[str]) -> None:
        with self._watching.borrowed() as db:
            try:
                # Not NOLOGIN: a session can lock its own role's row, and come again in time to lock it again.
                may = db.execute(f"{_STANDING} AND rolname = ANY (%s) AND {_MAY_CONNECT}", (list(roles),)).fetchall()
                if may:
                    names = sql.SQL(", ").join(sql.Identifier(name) for name, _ in may)
                    database = sql.Identifier(self._place.database)
                    db.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM {}").format(database, names))
            finally:  # INVARIANT: a full disk keeps no connection alive
                _terminate(db, _OF_ROLES, (list(roles),))

    def drop(self, role: str) -> bool:
        name = sql.Identifier(role)
        with self._watching.borrowed() as db:
            if db.execute(_OF_ROLES, ([role],)).fetchall():
                return False
            db.execute(sql.SQL("ALTER ROLE {} NOLOGIN").format(name))
            with db.transaction():
                db.execute(sql.SQL("DROP OWNED BY {}").format(name))
                db.execute(sql.SQL("DROP ROLE {}").format(name))
            return True

    def end_all(self) -> None:
        try:
            self._keep_last().execute("SELECT pg_stat_clear_snapshot()")
            self._keep_last().execute(_END_ALL)
        except psycopg.Error as err:
            raise _as_ours(err) from err

    def end_strays(self) -> None:
        with self._watching.borrowed() as db:
            _terminate(db, _STRAYS, ())

    def begin(self) -> None:
        with self._watching.borrowed() as db:
            _terminate(
                db, f"{_CONNECTIONS} AND a.usesysid = current_user::regrole AND a.application_name = %s", (_WATCHMAN,)
            )
            self._keep_watchman(db)

    def _keep_watchman(self, db: psycopg.Connection[tuple[Any, ...]]) -> None:
        there = "SELECT 1 FROM pg_stat_activity WHERE usesysid = current_user::regrole AND application_name = %s"
        if db.execute(there, (_WATCHMAN,)).fetchall():
            return
        if self._watchman is not None:
            self._watchman.close()
        self._watchman = self._connect(_WATCHMAN, _UNBOUNDED)
        self._watchman.pgconn.send_query(_LOOP.encode())

    def _keep_last(self) -> psycopg.Connection[tuple[Any, ...]]:
        if self._last is None or self._last.closed or self._last.info.transaction_status != TransactionStatus.INTRANS:
            if self._last is not None:
                self._last.close()
            self._last = self._connect(_LAST, _WAITING)
            self._last.execute("BEGIN READ ONLY")
            self._last.execute(_HOLD)
            self._last.execute(f"{_END_ALL} AND false")  # what it reads of the catalogs is read by now
        return self._last

    def _connect(self, name: str, options: str) -> psycopg.Connection[tuple[Any, ...]]:
        place = self._place
        return psycopg.connect(
            host=place.socket,
            port=place.port,
            dbname=place.database,
            user=grant_doors.ACCOUNT,
            application_name=name,
            options=options,
            connect_timeout=2,
            autocommit=True,
        )


def _forget_environment() -> None:
    """Take from this process what libpq would put beside the place that gate.toml names.

    INVARIANT: the gate asks the server that it is for, or none: PGHOSTADDR and PGSERVICE lead elsewhere whatever host is said.
    """
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]


class _Kept:
    """One connection for one thread at a time, made when it is needed, and thrown away when anything is odd."""

    def __init__(self, connect: Callable[[], psycopg.Connection[tuple[Any, ...]]]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._db: psycopg.Connection[tuple[Any, ...]] | None = None

    @contextmanager
    def borrowed(self) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
        with self._lock:
            try:
                if self._db is None or self._db.closed:
                    self._db = self._connect()
                yield self._db
            except psycopg.Error as err:
                if self._db is not None and not isinstance(err, sql_errors.QueryCanceled | sql_errors.LockNotAvailable):
                    self._db.close()
                raise _as_ours(err) from err


def _as_ours(err: psycopg.Error) -> Unavailable:
    return Unavailable(
        "database-failed",
        f"the database did not do what the gate asked: {type(err).__name__}: {_said(err)}",
        hint="the server's own log may say more; keyturn gate postgres init NAME shows what it needs",
        detail=str(err),
    )


def _said(err: psycopg.Error) -> str:
    return (err.diag.message_primary or str(err)).splitlines()[0][:200] if str(err) else "no answer"


def _terminate(db: psycopg.Connection[tuple[Any, ...]], which: str, parameters: tuple[object, ...]) -> None:
    """End the connections `which`, and wait a moment until they are gone."""
    until = time.monotonic() + _ENDED_WITHIN_MS / 1000
    while pids := db.execute(which, parameters).fetchall():
        for (pid,) in pids:
            with suppress(
                sql_errors.InsufficientPrivilege
            ):  # a superuser's connection whose role is gone: not a grant's
                db.execute("SELECT pg_terminate_backend(%s, 100)", (pid,))
        if time.monotonic() > until:
            return


def _require_schema(db: psycopg.Connection[tuple[Any, ...]], schema: str) -> None:
    found = db.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (schema,)).fetchall()
    if not found or schema.startswith("pg_") or schema == "information_schema":
        raise Refused("database-schema", f"this database has no schema `{schema}` of its own")


def _only(db: psycopg.Connection[tuple[Any, ...]], schema: str, tables: Sequence[str]) -> Only:
    """The tables that a grant names, and the sequences that belong to them; `Refused` when one is not there."""
    found = db.execute(
        "SELECT c.oid, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = %s AND c.relname = ANY (%s) AND c.relkind IN ('r', 'v', 'm', 'f', 'p')",
        (schema, list(tables)),
    ).fetchall()
    missing = sorted(set(tables) - {name for _, name in found})
    if missing:
        raise Refused(
            "database-table",
            f"this database has no table `{schema}.{missing[0]}`, which the grant names",
            hint="ask again with the tables that there are: --table",
        )
    owned = db.execute(
        "SELECT c.relname FROM pg_class c JOIN pg_depend d ON d.objid = c.oid AND d.classid = 'pg_class'::regclass "
        "AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i') JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE c.relkind = 'S' AND n.nspname = %s AND d.refobjid = ANY (%s)",
        (schema, [oid for oid, _ in found]),
    ).fetchall()
    return Only(tuple(name for _, name in found), tuple(name for (name,) in owned))


def _making(
    role: str, schema: str, privileges: Privileges, only: Only | None, *, place: ServerPlace, ends_at: int
) -> Iterator[sql.Composed]:
    name, where = sql.Identifier(role), sql.Identifier(schema)
    group, account = sql.Identifier(grant_doors.GROUP), sql.Identifier(grant_doors.ACCOUNT)
    until = datetime.fromtimestamp(ends_at, UTC).isoformat()
    yield sql.SQL(
        "CREATE ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS NOINHERIT PASSWORD NULL "
        "CONNECTION LIMIT {} VALID UNTIL {} IN ROLE {}"
    ).format(name, sql.Literal(place.connections), sql.Literal(until), group)
    yield sql.SQL("GRANT {} TO {}").format(name, account)
    yield sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(where, name)
    kinds = (
        ("TABLE", privileges.tables, None if only is None else only.tables),
        ("SEQUENCE", privileges.sequences, None if only is None else only.sequences),
    )
    for kind, given, named in kinds:
        words = sql.SQL(", ").join(map(sql.SQL, given))
        if given and named is None:
            yield sql.SQL("GRANT {} ON ALL {} IN SCHEMA {} TO {}").format(words, sql.SQL(f"{kind}S"), where, name)
        elif given and named:
            listed = sql.SQL(", ").join(sql.Identifier(schema, one) for one in named)
            yield sql.SQL("GRANT {} ON {} {} TO {}").format(words, sql.SQL(kind), listed, name)
    if privileges.functions:
        yield sql.SQL("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA {} TO {}").format(where, name)
    # The last: the database's own row is locked for as short as can be, since whoever shuts a role out waits for it.
    yield sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(sql.Identifier(place.database), name)
