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

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import psycopg
from psycopg import errors as sql_errors
from psycopg import sql
from psycopg.pq import TransactionStatus

from keyturn.adapters.postgres import grant_doors
from keyturn.errors import Refused, Unavailable
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

    def make(self, role: str, schema: str, privileges: Privileges, *, ends_at: int) -> None:
        with self._opening.borrowed() as db, db.transaction():
            _require_schema(db, schema)
            for statement in _making(role, schema, privileges, place=self._place, ends_at=ends_at):
                db.execute(statement)
            found = grant_doors.more_than_granted(db, role, schema, privileges, definers=self._definers)
            if found:
                raise Refused(
                    "database-role-more",
                    f"whoever is let in could do more than the grant says: {'; '.join(found[:20])}",
                    hint="take it from PUBLIC with REVOKE, or list a function in `definers` of gate.toml",
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


def _making(
    role: str, schema: str, privileges: Privileges, *, place: ServerPlace, ends_at: int
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
    for kind, given in (("TABLES", privileges.tables), ("SEQUENCES", privileges.sequences)):
        if given:
            words = sql.SQL(", ").join(map(sql.SQL, given))
            yield sql.SQL("GRANT {} ON ALL {} IN SCHEMA {} TO {}").format(words, sql.SQL(kind), where, name)
    if privileges.functions:
        yield sql.SQL("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA {} TO {}").format(where, name)
    # The last: the database's own row is locked for as short as can be, since whoever shuts a role out waits for it.
    yield sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(sql.Identifier(place.database), name)
