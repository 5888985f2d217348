"""The index: an SQLite file derived from the log, to find records by id, by what they are about, and by envelope.

It is not truth. `rebuild` makes it again from the packs, always to the same bytes: one transaction, rows in the order of
the log, keys last and sorted. A running log adds to it in batches, without syncing: what a crash loses is added again.

    entry(idx, kind, record, envelope, until, pack, place, length)     one row per leaf; where its envelope lies (0: nowhere)
    key_0(key, idx) ... key_3(key, idx)                                what a leaf is found by; key_0 has the newest entries
    run(level, first)                                                  the first entry whose keys are in key_<level>
    position(size, pack, place, frontier)                              one row: how much of the log is in here

Keys are scattered, so adding to one large tree would write a page of it for each. New keys go to a tree that is small; a
full tree is poured, sorted, into the next one, eight times as large: each page is then written once for many keys.
"""

# ruff: noqa: S608  # statements are put together from constants of this file alone

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from keyturn.adapters.log_on_disk.batch import Batch
from keyturn.adapters.log_on_disk.intact import NO_LEAF
from keyturn.adapters.log_on_disk.pack import START, Tail
from keyturn.errors import Tampered, Unavailable
from keyturn.formats import canonical_json
from keyturn.formats.digest import Sha256
from keyturn.formats.leaf import Kind
from keyturn.ports import IndexedRecord
from keyturn.tlog.frontier import Frontier

__all__ = ["IndexSqlite", "rebuild"]

_WAL_PAGES = 16384
"""64 MiB: pages that are written again and again reach the file once."""

_MADE_WITHIN_S = 30.0
_LOOK_EVERY_S = 0.02

_SCHEMA_VERSION = 2
_KEY_LEVELS = 4
_KEY_ENTRIES_MAX = (1 << 16, 1 << 19, 1 << 22)
"""Entries at which `key_0`, `key_1` and `key_2` are poured into the next; `key_3` has no bound."""

_TABLES = f"""
PRAGMA user_version = {_SCHEMA_VERSION};
CREATE TABLE entry(idx INTEGER PRIMARY KEY, kind TEXT NOT NULL, record TEXT NOT NULL, envelope TEXT NOT NULL,
  until INTEGER, pack INTEGER NOT NULL, place INTEGER NOT NULL, length INTEGER NOT NULL) STRICT;
CREATE TABLE position(size INTEGER NOT NULL, pack INTEGER NOT NULL, place INTEGER NOT NULL, frontier TEXT NOT NULL) STRICT;
INSERT INTO position VALUES (0, 0, 0, '');
CREATE TABLE run(level INTEGER PRIMARY KEY, first INTEGER NOT NULL) STRICT;
INSERT INTO run VALUES {", ".join(f"({level}, 0)" for level in range(_KEY_LEVELS))};
""" + "".join(
    f"CREATE TABLE key_{level}(key TEXT NOT NULL, idx INTEGER NOT NULL, PRIMARY KEY(key, idx)) STRICT, WITHOUT ROWID;\n"
    for level in range(_KEY_LEVELS)
)
_KIND_INDEX = "CREATE INDEX entry_kind ON entry(kind, idx);\n"
# One statement per table and batch: SQLite reads the leaves itself, outside the interpreter's lock.
_ADD_ENTRIES = """
INSERT INTO entry SELECT json_extract(value, '$[0]'), json_extract(value, '$[4].kind'), json_extract(value, '$[4].record'),
  json_extract(value, '$[4].envelope'), json_extract(value, '$[4].until'), json_extract(value, '$[1]'),
  json_extract(value, '$[2]'), json_extract(value, '$[3]') FROM json_each(?)
"""
# A key is `e=` and the first 16 digits of the envelope's digest, `r=` and those of the record's, or a tag (which has a colon
# where these have none). Digests are then compared whole: who grinds 16 equal digits stops nobody.
_KEYS_OF = """
SELECT 'e=' || substr(envelope, 1, 16) AS key, idx FROM entry WHERE idx >= ?2 AND length > 0
UNION ALL
SELECT 'r=' || substr(record, 1, 16), idx FROM entry WHERE idx >= ?2
UNION ALL
SELECT tag.value, json_extract(row.value, '$[0]') FROM json_each(?1) AS row, json_each(row.value, '$[4].about') AS tag
"""


def _in_every_run(select: str) -> str:
    return " UNION ALL ".join(select.format(key=f"key_{level}") for level in range(_KEY_LEVELS))


_FOUND_BY_RECORD = _in_every_run(
    "SELECT idx FROM {key} WHERE key BETWEEN 'r=' || substr(?1, 1, 16) AND 'r=' || substr(?2, 1, 16)"
)
_BY_RECORD = f"""SELECT idx, kind, record, envelope, until FROM entry WHERE idx IN ({_FOUND_BY_RECORD})
  AND record BETWEEN ?1 AND ?2 AND (?3 IS NULL OR kind = ?3) ORDER BY idx LIMIT 1000"""
_FOUND_BY_ENVELOPE = _in_every_run("SELECT idx FROM {key} WHERE key = 'e=' || substr(?1, 1, 16)")
_BY_ENVELOPE = f"""SELECT pack, place, length FROM entry WHERE idx IN ({_FOUND_BY_ENVELOPE}) AND envelope = ?1"""
_BY_ENVELOPES = _in_every_run("""SELECT entry.envelope, entry.idx FROM json_each(?1) AS wanted
  CROSS JOIN {key} ON {key}.key = 'e=' || substr(wanted.value, 1, 16)
  CROSS JOIN entry ON entry.idx = {key}.idx AND entry.envelope = wanted.value""")
_FOUND_BY_TAG = _in_every_run("SELECT idx FROM {key} WHERE key = ?1")
_BY_TAG = f"""SELECT idx, kind, record, envelope, until FROM entry
  WHERE idx IN ({_FOUND_BY_TAG}) ORDER BY idx LIMIT 1000"""
_BY_KIND = """SELECT idx, kind, record, envelope, until FROM entry
  WHERE kind IN (SELECT value FROM json_each(?)) AND idx >= ? ORDER BY idx LIMIT 1000"""


class IndexSqlite:
    """Look up and add. Safe for threads; several processes may hold one file (SQLite's write-ahead log)."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._reading = _Handle(path, cache_kib=8192)
        self._adding = _Handle(path, cache_kib=24576)  # of its own, so that look-ups never wait for an addition

    def close(self) -> None:
        """Let go of the file."""
        self._reading.close()
        self._adding.close()

    @property
    def tail(self) -> Tail:
        """How much of the log is in here."""
        with self._reading.open() as db:
            size, pack, place, nodes = db.execute("SELECT size, pack, place, frontier FROM position").fetchone()
        hashes = bytes.fromhex(nodes)
        return Tail(Frontier(size, tuple(hashes[i : i + 32] for i in range(0, len(hashes), 32))), pack, place)

    def add(self, batches: Sequence[tuple[Batch, Tail]]) -> None:
        """Add consecutive batches as `log_on_disk.intact` gives them, each with the tail behind it, in one transaction.

        Those that are here are skipped.
        """
        with self._adding.open() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                (size,) = db.execute("SELECT size FROM position").fetchone()
                new = [(found, tail) for found, tail in batches if found.first >= size]
                document = _add(db, new, size)
                if document:
                    db.execute(f"INSERT INTO key_0 {_KEYS_OF} ORDER BY key, idx", (document, size))
                    _pour(db, new[-1][1].size)
                db.execute("COMMIT")
            except BaseException:
                db.execute("ROLLBACK")
                raise

    def indexes_of(self, envelopes: Sequence[str]) -> dict[str, list[int]]:
        """Log indexes of those `envelopes` (SHA-256 in hex) that are here, the newest first: a leaf can lie about what it names,
        and so there may be several."""
        with self._reading.open() as db:
            rows = db.execute(
                _BY_ENVELOPES,
                ('["' + '","'.join(envelopes) + '"]',),  # hex digits
            )
            found: dict[str, list[int]] = {}
            for envelope, idx in sorted(rows.fetchall(), key=lambda row: -row[1]):
                found.setdefault(envelope, []).append(idx)
            return found

    def place_of(self, envelope: Sha256) -> tuple[int, int, int] | None:
        """Pack, offset and length of an envelope."""
        with self._reading.open() as db:
            found = db.execute(_BY_ENVELOPE, (envelope,)).fetchone()
        return None if found is None else (found[0], found[1], found[2])

    def by_record(self, prefix: str, kind: Kind | None = None) -> tuple[IndexedRecord, ...]:
        """Records whose digest begins with `prefix` (hex), of one kind or of any, in log order."""
        last = prefix.ljust(64, "f")
        with self._reading.open() as db:
            rows = db.execute(
                _BY_RECORD,
                (prefix, last, kind),
            )
            return _records(rows)

    def about(self, tag: str) -> tuple[IndexedRecord, ...]:
        """Records whose leaf carries `tag`, in log order."""
        with self._reading.open() as db:
            rows = db.execute(_BY_TAG, (tag,))
            return _records(rows)

    def of_kinds(self, kinds: Iterable[Kind], *, start: int = 0) -> tuple[IndexedRecord, ...]:
        """Records of `kinds` from index `start` on, in log order."""
        with self._reading.open() as db:
            rows = db.execute(
                _BY_KIND,
                (canonical_json.encode(sorted(kinds)).decode(), start),
            )
            return _records(rows)


class _Handle:
    """One connection, used by one thread at a time; opened again when another process has rebuilt the file."""

    def __init__(self, path: Path, *, cache_kib: int) -> None:
        self._path = path
        self._cache_kib = cache_kib
        self._lock = threading.Lock()
        with self._errors():
            self._connect()

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    @contextmanager
    def open(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._errors():
            try:
                inode = self._path.stat().st_ino
            except FileNotFoundError:
                inode = -1
            if inode != self._inode:
                self._connection.close()
                self._connect()
            yield self._connection

    def _connect(self) -> None:
        if self._path.exists() and not self._path.is_file():
            raise sqlite3.DatabaseError("it is no plain file")
        db = sqlite3.connect(self._path, timeout=30, isolation_level=None, check_same_thread=False)
        _write_ahead(db)
        for pragma in (
            "synchronous = NORMAL",
            f"cache_size = -{self._cache_kib}",
            f"wal_autocheckpoint = {_WAL_PAGES}",
        ):
            db.execute(f"PRAGMA {pragma}")
        db.execute("BEGIN IMMEDIATE")
        if db.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,):
            for statement in _statements(_TABLES + _KIND_INDEX):
                db.execute(statement)
        elif db.execute("PRAGMA user_version").fetchone() != (_SCHEMA_VERSION,):
            db.close()
            raise sqlite3.DatabaseError("another version of Keyturn made it")
        db.execute("COMMIT")
        self._connection, self._inode = db, self._path.stat().st_ino

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as err:
            if "readonly" in str(err):
                raise Unavailable(
                    "index-not-ours",
                    f"index `{self._path.name}`: this user may not write it, and so cannot read it safely",
                    hint="run it as the user whose lab it is, or ask the lab's service with --lab http://...",
                ) from err
            raise Unavailable(
                "index-unreadable", f"index `{self._path.name}`: {err}", hint="keyturn log reindex"
            ) from err


def _write_ahead(db: sqlite3.Connection) -> None:
    """Have `db` keep a write-ahead log. SQLite does not wait for whoever makes the same file at the same moment: this does."""
    until = time.monotonic() + _MADE_WITHIN_S
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as err:
            if "locked" not in str(err) or time.monotonic() > until:
                raise
            time.sleep(_LOOK_EVERY_S)
        else:
            return


def rebuild(path: Path, batches: Iterable[tuple[Batch, Tail]]) -> Tail:
    """Make the index again from all batches of the log, and put it in the place of the old one. Same log, same bytes."""
    fresh = path.with_name(f".{path.name}.rebuilt")
    fresh.unlink(missing_ok=True)
    tail = START
    db = sqlite3.connect(fresh, isolation_level=None)
    try:
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "page_size = 4096"):
            db.execute(f"PRAGMA {pragma}")
        db.execute("BEGIN")
        for statement in _statements(_TABLES):
            db.execute(statement)
        db.execute("CREATE TEMP TABLE unsorted(key TEXT, idx INTEGER)")
        for found, after in batches:
            document = _add(db, [(found, after)], tail.size)
            db.execute(f"INSERT INTO unsorted {_KEYS_OF}", (document, tail.size))
            tail = after
        db.execute(_KIND_INDEX)
        db.execute(f"INSERT INTO key_{_KEY_LEVELS - 1} SELECT key, idx FROM unsorted ORDER BY key, idx")
        db.execute("UPDATE run SET first = ? WHERE level < ?", (tail.size, _KEY_LEVELS - 1))
        db.execute("COMMIT")
    except sqlite3.Error as err:
        raise Tampered("index-rebuild", f"the log's leaves cannot be indexed: {err}") from err
    finally:
        db.close()
    fd = os.open(fresh, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
    for suffix in ("-wal", "-shm"):  # before the new file is there: they belong to the old one
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    try:
        fresh.replace(path)
    except IsADirectoryError as err:
        fresh.unlink()
        raise Unavailable(
            "index-unreadable", f"index `{path.name}`: it is a directory", hint=f"move `{path}` away, and run it again"
        ) from err
    return tail


def _add(db: sqlite3.Connection, batches: Sequence[tuple[Batch, Tail]], size: int) -> str:
    """Add the rows of `batches`, and give them as the JSON text from which their keys are made."""
    rows: list[bytes] = []
    for found, after in batches:
        if found.first != size:
            raise Tampered("log-batch-order", f"index: expected a batch at entry {size}, got one at {found.first}")
        start = after.offset - found.size_bytes
        rows += [
            b"[%d,%d,%d,%d,%s]" % (found.first + i, after.pack, start + place, length, leaf)
            for i, ((place, length), leaf) in enumerate(zip(found.places, found.leaves, strict=True))
            if leaf != NO_LEAF
        ]
        size = found.end
    if not batches:
        return ""
    document = (b"[" + b",".join(rows) + b"]").decode("utf-8")
    db.execute(_ADD_ENTRIES, (document,))
    last = batches[-1][1]
    db.execute(
        "UPDATE position SET size = ?, pack = ?, place = ?, frontier = ?",
        (last.size, last.pack, last.offset, b"".join(last.frontier.nodes).hex()),
    )
    return document


def _pour(db: sqlite3.Connection, size: int) -> None:
    """Pour each run that is full into the next one."""
    firsts = [first for (first,) in db.execute("SELECT first FROM run ORDER BY level")]
    end = size
    for level, entries_max in enumerate(_KEY_ENTRIES_MAX):
        if end - firsts[level] >= entries_max:
            db.execute(f"INSERT INTO key_{level + 1} SELECT key, idx FROM key_{level} ORDER BY key, idx")
            db.execute(f"DELETE FROM key_{level}")
            db.execute("UPDATE run SET first = ? WHERE level = ?", (end, level))
            firsts[level] = end
        end = firsts[level]


def _statements(script: str) -> list[str]:
    return [statement for statement in script.split(";\n") if statement.strip()]


def _records(rows: Iterable[tuple[int, Kind, str, str, int | None]]) -> tuple[IndexedRecord, ...]:
    return tuple(
        IndexedRecord(index=idx, kind=kind, record=Sha256(record), envelope=Sha256(envelope), until=until)
        for idx, kind, record, envelope, until in rows
    )
