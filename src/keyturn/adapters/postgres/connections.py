"""Connections to the database: made when they are needed, used by one thread at a time, and thrown away when anything is odd.

Every session commits synchronously, waits for locks and statements for so long and no longer, and is ended by the server when it
idles inside a transaction: a process that stands still in the middle of an append does not hold up the others.

Errors of the database become Keyturn's here. What libpq says goes into `detail`, which no remote caller sees. `store-unreachable`
says that the connection is gone, and then nobody knows what became of a transaction that was being committed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from keyturn.adapters.postgres.place import StorePlace
from keyturn.errors import Refused, Unavailable

try:
    import psycopg
    from psycopg import errors as sql_errors
    from psycopg.conninfo import make_conninfo
except ImportError as err:  # the client alone was installed
    raise Unavailable(
        "store-not-installed",
        "the lab's log is in PostgreSQL, and what speaks to it is not installed here",
        hint="pip install 'keyturn[server]'",
    ) from err

if TYPE_CHECKING:
    from psycopg import Connection

__all__ = ["Connections", "Database", "commit"]

Database: TypeAlias = "Connection[tuple[Any, ...]]"
T = TypeVar("T")

_CONNECTIONS_MAX = 16
"""That one process uses at a time: several share the server's hundred with whoever else needs it."""
_SESSION = {
    "synchronous_commit": "on",
    "lock_timeout": "10s",
    "statement_timeout": "60s",
    "idle_in_transaction_session_timeout": "15s",
    # Prefixes and kinds differ by orders of magnitude in how much they find: each look-up is planned for its own.
    "plan_cache_mode": "force_custom_plan",
    "search_path": "pg_catalog",
}
_CONNECTION = {
    "application_name": "keyturn",
    "options": " ".join(f"-c {name}={value}" for name, value in _SESSION.items()),
    "connect_timeout": "5",
    # A standby may be behind, which would look like a log that went back; whoever wants to read from one says `any`.
    "target_session_attrs": "primary",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
}


class Connections:
    """Connect to `place` as often as needed. Safe for threads; `close` when done."""

    def __init__(self, place: StorePlace) -> None:
        self.place = place
        self._room = threading.BoundedSemaphore(_CONNECTIONS_MAX)
        self._lock = threading.Lock()
        self._idle: list[Database] = []
        self._closed = False

    def close(self) -> None:
        """Let go of every connection; those in use are closed when they come back."""
        with self._lock:
            self._closed = True
        self._drop_idle()

    @contextmanager
    def borrowed(self) -> Iterator[Database]:
        """A connection in autocommit mode; whoever begins a transaction ends it, or the connection is closed and it is rolled
        back.
        """
        with self._room:
            with _translated():
                db = self._take()
            try:
                with _translated(db):
                    yield db
            except Unavailable:
                if db.closed:
                    self._drop_idle()  # the server went, and the others with it
                raise
            finally:
                self._give_back(db)

    def read(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """The rows of one statement that changes nothing; asked again when the connection had died meanwhile."""
        return self.again(lambda db: db.execute(statement, parameters, binary=True).fetchall())

    def again(self, run: Callable[[Database], T]) -> T:
        """Run what may be run twice, a second time when the connection had died meanwhile."""
        try:
            with self.borrowed() as db:
                return run(db)
        except Unavailable as err:
            if err.code != "store-unreachable":
                raise
        with self.borrowed() as db:
            return run(db)

    def _take(self) -> Database:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return psycopg.connect(make_conninfo("", **{**_CONNECTION, **self.place.parameters}), autocommit=True)

    def _give_back(self, db: Database) -> None:
        with suppress(psycopg.Error):
            db.rollback()  # nothing, unless whoever had it went away in the middle of a transaction
        if not db.closed and db.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
            with self._lock:
                if not self._closed:
                    self._idle.append(db)
                    return
        db.close()

    def _drop_idle(self) -> None:
        with self._lock:
            dropped, self._idle = self._idle, []
        for db in dropped:
            db.close()


def commit(db: Database) -> None:
    """Commit durably. A warning means that a standby did not confirm it: as little is known then as when the connection is
    lost.
    """
    warned: list[str] = []

    def note(diagnostic: psycopg.errors.Diagnostic) -> None:
        if diagnostic.severity_nonlocalized == "WARNING":
            warned.append(diagnostic.message_primary or "")

    db.add_notice_handler(note)
    try:
        ended = db.execute(b"COMMIT").statusmessage
    finally:
        db.remove_notice_handler(note)
    if ended != "COMMIT" or warned:
        db.close()
        raise _unreachable(f"the commit ended with {ended}: {'; '.join(warned)}")


@contextmanager
def _translated(db: Database | None = None) -> Iterator[None]:
    try:
        yield
    except (sql_errors.UndefinedTable, sql_errors.InvalidSchemaName) as err:
        raise Unavailable(
            "store-schema",
            "the database has no log of Keyturn, or one of another version",
            hint="keyturn log migrate --owner URL --service ROLE",
            detail=str(err),
        ) from err
    except sql_errors.InsufficientPrivilege as err:
        raise Refused(
            "store-role",
            f"the database's role may not do that: {err.diag.message_primary}",
            hint="keyturn log migrate --owner URL --service ROLE gives a role what the service needs",
        ) from err
    except psycopg.Error as err:
        if db is None or db.closed:
            raise _unreachable(str(err)) from err
        if isinstance(err, sql_errors.UniqueViolation):
            raise Unavailable(
                "store-rows",
                f"the database has rows of entries that are not in the log: {err.diag.table_name}",
                hint="keyturn log reindex",
                detail=str(err),
            ) from err
        if isinstance(err, (sql_errors.LockNotAvailable, sql_errors.QueryCanceled)):
            raise Unavailable(
                "store-busy", "the database did not answer in time", hint="try again", detail=str(err)
            ) from err
        raise Unavailable(
            "store-failed",
            f"the database refused: {type(err).__name__}: {err.diag.message_primary}",
            hint="its own log may say more",
            detail=str(err),
        ) from err


def _unreachable(said: str) -> Unavailable:
    # What stands before it names the host, which concerns the operator alone.
    reason = (said.splitlines() or [""])[0].rpartition("failed: ")[2]
    return Unavailable(
        "store-unreachable",
        f"the database does not answer, or ended the connection: {reason[:200]}",
        hint="start the database; `store` in keyturn.toml says where it is",
        detail=said,
    )
