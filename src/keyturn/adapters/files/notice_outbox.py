"""Keep what must be told in one SQLite file: `ports.NoticeOutbox`.

    told(state)                                    one row: what was told by now (`app.notices.tell_people`)
    notice(number, event, receiver, title, body, kept_at, tries, delivered_at)     each event once for each receiver
    receiver(name, failures, rests_until)          how long a receiver that fails is left alone

What was told and what must be told are kept in one transaction, which is synced: a crash repeats nothing before it and loses
nothing after it. A crash between giving a notice and noting that it was given gives it again.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from keyturn.adapters.files import durable_files
from keyturn.errors import Conflict, Unavailable
from keyturn.ports import OutgoingNotice

__all__ = ["REST_MAX_S", "NoticeOutboxSqlite"]

REST_FIRST_S = 2
REST_MAX_S = 15 * 60
"""After a failure a receiver rests 2 s, after each further one twice as long, and never longer than this."""

_SCHEMA_VERSION = 1
_TABLES = f"""
CREATE TABLE told(state BLOB NOT NULL) STRICT;
CREATE TABLE notice(number INTEGER PRIMARY KEY, event TEXT NOT NULL, receiver TEXT NOT NULL, title TEXT NOT NULL,
  body TEXT NOT NULL, kept_at INTEGER NOT NULL, tries INTEGER NOT NULL DEFAULT 0, delivered_at INTEGER,
  UNIQUE(event, receiver)) STRICT;
CREATE INDEX notice_next ON notice(receiver, tries, number) WHERE delivered_at IS NULL;
CREATE TABLE receiver(name TEXT PRIMARY KEY, failures INTEGER NOT NULL, rests_until INTEGER NOT NULL) STRICT;
PRAGMA user_version = {_SCHEMA_VERSION};
"""


class NoticeOutboxSqlite:
    """The outbox in the file `path`, which is made, for its owner alone. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        try:
            durable_files.make_directories(path.parent, mode=0o700)
            path.touch(mode=0o600)
        except OSError as err:
            raise self._unusable(str(err.strerror)) from err
        with self._errors():
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            with self._transaction():
                for statement in _TABLES.split(";\n"):
                    self._db.execute(statement)
        elif version != _SCHEMA_VERSION:
            raise Conflict("outbox-version", f"`{path}` is of version {version}, expected {_SCHEMA_VERSION}")

    def close(self) -> None:
        self._db.close()

    def told(self) -> bytes | None:
        with self._transaction():
            row = self._db.execute("SELECT state FROM told").fetchone()
        return None if row is None else bytes(row[0])

    def keep(self, told: bytes, notices: Sequence[tuple[str, str, str, str]], *, now: int) -> None:
        with self._transaction():
            self._db.execute("DELETE FROM told")
            self._db.execute("INSERT INTO told VALUES (?)", (told,))
            self._db.executemany(
                "INSERT OR IGNORE INTO notice(event, receiver, title, body, kept_at) VALUES (?, ?, ?, ?, ?)",
                [(*one, now) for one in notices],
            )

    def next_for(self, receiver: str, *, now: int) -> OutgoingNotice | None:
        with self._transaction():
            rests = self._db.execute("SELECT rests_until FROM receiver WHERE name = ?", (receiver,)).fetchone()
            if rests is not None and now < rests[0]:
                return None
            # What failed less often comes first: one notice that a receiver never takes keeps no other from it.
            row = self._db.execute(
                "SELECT number, receiver, title, body FROM notice WHERE receiver = ? AND delivered_at IS NULL "
                "ORDER BY tries, number LIMIT 1",
                (receiver,),
            ).fetchone()
        return None if row is None else OutgoingNotice(*row)

    def delivered(self, notice: OutgoingNotice, *, now: int) -> None:
        with self._transaction():
            self._db.execute("UPDATE notice SET delivered_at = ? WHERE number = ?", (now, notice.number))
            self._db.execute("DELETE FROM receiver WHERE name = ?", (notice.receiver,))

    def failed(self, notice: OutgoingNotice, *, now: int) -> int:
        with self._transaction():
            self._db.execute("UPDATE notice SET tries = tries + 1 WHERE number = ?", (notice.number,))
            row = self._db.execute("SELECT failures FROM receiver WHERE name = ?", (notice.receiver,)).fetchone()
            failures = 1 if row is None else row[0] + 1
            rest_s = min(REST_FIRST_S << min(failures - 1, 20), REST_MAX_S)
            self._db.execute(
                "INSERT OR REPLACE INTO receiver VALUES (?, ?, ?)", (notice.receiver, failures, now + rest_s)
            )
        return rest_s

    def forget(self, *, before: int) -> int:
        with self._transaction():
            self._db.execute("DELETE FROM notice WHERE kept_at < ? AND delivered_at IS NOT NULL", (before,))
            return self._db.execute("DELETE FROM notice WHERE kept_at < ?", (before,)).rowcount

    def waiting(self) -> Mapping[str, int]:
        with self._transaction():
            rows = self._db.execute(
                "SELECT receiver, count(*) FROM notice WHERE delivered_at IS NULL GROUP BY receiver"
            )
            return dict(rows.fetchall())

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock, self._errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as err:
            raise self._unusable(str(err)) from err

    def _unusable(self, why: str) -> Unavailable:
        return Unavailable(
            "outbox-unwritable", f"what must be told cannot be kept in `{self._path}`: {why}", hint="free space there"
        )
