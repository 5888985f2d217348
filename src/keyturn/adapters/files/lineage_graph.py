"""The graph of a log's statements in an SQLite file of whoever reads the log (`ports.LineageGraph`).

It lies in a person's home, and not with the log: who keeps the log cannot leave anything out of it. It is made of the log,
and made again when it is removed.

    node(id, name)                                       ids are negative; a digest is a letter and 32 bytes
    edge(src, dst, chain), back(dst, src, chain)         the same links, to be followed either way
    statement(idx, kind, keyid, said_at, label, envelope)
    trust(idx, envelope)   failure(idx, code, message)   unread(idx, kind, record)
    position(size, nodes)                                one row: how much of the log is in here
"""

# ruff: noqa: S608  # statements are put together from constants of this file alone

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from keyturn.adapters.files.durable_files import make_directories
from keyturn.custody.evidence import Failure
from keyturn.custody.linked import Linked
from keyturn.errors import Unavailable
from keyturn.formats.digest import Sha256
from keyturn.ports.lineage import StatementNode, Unread
from keyturn.tlog.frontier import Frontier

__all__ = ["LineageGraphFile"]

_VERSION = 2
_TABLES = (
    "CREATE TABLE node(id INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE) STRICT",
    "CREATE TABLE edge(src INTEGER, dst INTEGER, chain INTEGER, PRIMARY KEY(src, dst)) STRICT, WITHOUT ROWID",
    "CREATE TABLE back(dst INTEGER, src INTEGER, chain INTEGER, PRIMARY KEY(dst, src)) STRICT, WITHOUT ROWID",
    "CREATE TABLE statement(idx INTEGER PRIMARY KEY, kind TEXT, keyid TEXT, said_at INTEGER, label TEXT, envelope BLOB) STRICT",
    "CREATE INDEX statement_keyid ON statement(keyid, idx)",
    "CREATE TABLE trust(idx INTEGER PRIMARY KEY, envelope TEXT) STRICT",
    "CREATE TABLE failure(idx INTEGER, code TEXT, message TEXT) STRICT",
    "CREATE TABLE unread(idx INTEGER PRIMARY KEY, kind TEXT, record TEXT) STRICT",
    "CREATE TABLE position(size INTEGER, nodes BLOB) STRICT",
    "INSERT INTO position VALUES (0, x'')",
    f"PRAGMA user_version = {_VERSION}",
)
_LETTERS = {"dirHash": b"d", "sha256": b"s", "record": b"r"}
_PREFIXES = {letter: prefix for prefix, letter in _LETTERS.items()}
_AT_ONCE = 4096
_CACHE_KIB, _GROWING_CACHE_KIB = 64 << 10, 256 << 10
"""Names of digests come in no order: while a million of them are added, as many pages are wanted at once."""
# CROSS JOIN: the wanted nodes lead, in their order, and each is looked up
_LINKS = {
    (back, chain): f"SELECT {near}, {far} FROM json_each(?) AS wanted CROSS JOIN {table} ON {near} = wanted.value"
    f"{' WHERE chain' if chain else ''} ORDER BY wanted.key, {far}"
    for back, table, near, far in ((False, "edge", "src", "dst"), (True, "back", "dst", "src"))
    for chain in (False, True)
}
_MADE_BY = (
    "SELECT dst, idx, label FROM json_each(?) AS wanted CROSS JOIN back ON dst = wanted.value"
    " CROSS JOIN statement ON idx = src WHERE chain AND kind = 'prv' ORDER BY wanted.key, idx"
)
_NAMES = "SELECT name FROM json_each(?) AS wanted CROSS JOIN node ON node.id = wanted.value ORDER BY wanted.key"
_COLUMNS = "idx, kind, keyid, said_at, label"
_ENVELOPES = (
    "SELECT envelope FROM json_each(?) AS wanted CROSS JOIN statement ON idx = wanted.value ORDER BY wanted.key"
)
_STATEMENTS = f"SELECT {_COLUMNS} FROM json_each(?) AS wanted CROSS JOIN statement ON idx = wanted.value"
_BY_KEY = f"SELECT {_COLUMNS} FROM statement WHERE keyid = ? ORDER BY idx"
_FIRST = "SELECT min(idx) FROM statement WHERE keyid <> ? AND said_at >= ? AND said_at <= ?"
_LAST_BEFORE = "SELECT max(idx) FROM statement WHERE keyid <> ? AND said_at IS NOT NULL AND idx < ?"


class LineageGraphFile:
    """One connection to one file; for one thread at a time. Several processes may have it open."""

    def __init__(self, path: Path) -> None:
        self._path = path
        make_directories(path.parent, mode=0o700)
        with self._errors():
            self._db = self._opened()

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def _opened(self) -> sqlite3.Connection:
        self._path.touch(mode=0o600)
        db = sqlite3.connect(self._path, timeout=60, isolation_level=None)
        try:
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version not in (0, _VERSION):
                raise sqlite3.DatabaseError("another version of Keyturn made it")
            db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            if version == 0:
                db.execute("BEGIN EXCLUSIVE")
                if db.execute("PRAGMA user_version").fetchone() == (0,):
                    for statement in _TABLES:
                        db.execute(statement)
                db.execute("COMMIT")
        except BaseException:
            db.close()
            raise
        return db

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as err:
            raise Unavailable(
                "lineage-unreadable",
                f"the graph of the log in `{self._path}`: {err}",
                hint=f"remove `{self._path}`: it is made again from the log",
            ) from err

    @property
    def frontier(self) -> Frontier:
        """The tree of what is in here."""
        with self._errors():
            size, nodes = self._db.execute("SELECT size, nodes FROM position").fetchone()
        return Frontier(size, tuple(nodes[at : at + 32] for at in range(0, len(nodes), 32)))

    @property
    def trust(self) -> tuple[tuple[int, Sha256], ...]:
        """Index and envelope of each trust version in the log up to there."""
        return tuple((idx, Sha256(envelope)) for idx, envelope in self._all("SELECT * FROM trust ORDER BY idx"))

    @property
    def failures(self) -> tuple[Failure, ...]:
        """What did not verify, of statements that somebody signed whom trust listed."""
        return tuple(Failure(*row) for row in self._all("SELECT * FROM failure ORDER BY idx, code, message"))

    @property
    def unread(self) -> tuple[Unread, ...]:
        """What could not be read."""
        return tuple(
            Unread(idx, kind, Sha256(one)) for idx, kind, one in self._all("SELECT * FROM unread ORDER BY idx")
        )

    @contextmanager
    def growing(self) -> Iterator[None]:
        """Add alone, and all of it durably at the end or nothing."""
        with self._errors():
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute(f"PRAGMA cache_size = -{_GROWING_CACHE_KIB}")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        with self._errors():
            self._db.execute("COMMIT")
            self._db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")

    def add(
        self, statements: Sequence[tuple[Linked, Sha256]], *, failures: Sequence[Failure], unread: Sequence[Unread]
    ) -> None:
        """Add statements with their envelopes; inside `growing`."""
        with self._errors():
            ids = self._ids(name for one, _ in statements for name in _named(one))
            edges: dict[tuple[int, int], bool] = {}
            for one, _ in statements:
                step = one.kind == "prv"
                for name, chain in one.takes:
                    link = ids[name], one.index
                    edges[link] = edges.get(link, False) or chain
                edges.update(((one.index, ids[name]), step) for name in one.gives)
                edges.update(((ids[source], ids[target]), False) for source, target in one.passes)
            rows = [(source, target, chain) for (source, target), chain in edges.items()]
            self._db.executemany("INSERT OR IGNORE INTO edge VALUES (?, ?, ?)", rows)
            self._db.executemany("INSERT OR IGNORE INTO back(src, dst, chain) VALUES (?, ?, ?)", rows)
            self._db.executemany(
                "INSERT INTO statement VALUES (?, ?, ?, ?, ?, ?)",
                [(s.index, s.kind, s.keyid, s.said_at, s.label, bytes.fromhex(where)) for s, where in statements],
            )
            self._db.executemany(
                "INSERT INTO failure VALUES (?, ?, ?)", [(one.index, one.code, one.message) for one in failures]
            )
            self._db.executemany(
                "INSERT INTO unread VALUES (?, ?, ?)", [(one.index, one.kind, one.record) for one in unread]
            )

    def add_read(self, frontier: Frontier, trust: Sequence[tuple[int, Sha256]]) -> None:
        """Say how far the log is in here, and which trust versions were found on the way; inside `growing`."""
        with self._errors():
            self._db.executemany("INSERT INTO trust VALUES (?, ?)", trust)
            self._db.execute("UPDATE position SET size = ?, nodes = ?", (frontier.size, b"".join(frontier.nodes)))

    def node(self, name: str) -> int | None:
        """The node of a name; None when nothing in the log says it."""
        found = self._all("SELECT id FROM node WHERE name = ?", (_packed(name),))
        return found[0][0] if found else None

    def names(self, nodes: Sequence[int]) -> tuple[str, ...]:
        """The names of these (negative) nodes, in their order."""
        return tuple(_unpacked(name) for (name,) in self._about(_NAMES, nodes))

    def statements(self, nodes: Sequence[int]) -> tuple[StatementNode, ...]:
        """The statements of these nodes, in log order."""
        found = {row[0]: row for row in self._about(_STATEMENTS, nodes)}
        return tuple(StatementNode(*found[index]) for index in sorted(found))

    def envelopes(self, nodes: Sequence[int]) -> tuple[Sha256, ...]:
        """Which envelopes have the text of these statements, in the order of the nodes."""
        return tuple(Sha256(envelope.hex()) for (envelope,) in self._about(_ENVELOPES, nodes))

    def links(self, nodes: Sequence[int], *, back: bool, chain: bool) -> Iterator[tuple[int, int]]:
        """Links from each of `nodes` to what rests on it, or `back` to what it rests on."""
        return self._about(_LINKS[back, chain], nodes)

    def made_by(self, nodes: Sequence[int]) -> Iterator[tuple[int, int, str]]:
        """Node, index and build of each step that made one of these artifacts."""
        return self._about(_MADE_BY, nodes)

    def signed_by(self, keyid: str) -> tuple[StatementNode, ...]:
        """The statements that this key signed."""
        return tuple(StatementNode(*row) for row in self._all(_BY_KEY, (keyid,)))

    def logged_between(self, keyid: str, since: int | None, until: int | None, *, now: int) -> tuple[int, int | None]:
        """Between which entries a statement of this key can have been logged at a time from `since` to `until`.

        What stands between two statements of others was logged between them. So it was logged before `since` if another's
        statement follows it that stands before the first one that says a time from `since` on; and after `until` if one
        before it says a later time.
        """
        first, last = 0, None
        if since is not None:
            ((reached,),) = self._all(_FIRST, (keyid, since, now))
            ((before,),) = self._all(_LAST_BEFORE, (keyid, self.frontier.size if reached is None else reached))
            first = 0 if before is None else before + 1
        if until is not None:
            ((last,),) = self._all(_FIRST, (keyid, until + 1, now))
        return first, last

    def _all(self, statement: str, values: tuple[object, ...] = ()) -> list[Any]:
        with self._errors():
            return self._db.execute(statement, values).fetchall()

    def _about(self, statement: str, nodes: Sequence[int]) -> Iterator[Any]:
        for start in range(0, len(nodes), _AT_ONCE):
            wanted = ",".join(map(str, nodes[start : start + _AT_ONCE]))
            yield from self._all(statement, (f"[{wanted}]",))

    def _ids(self, names: Iterable[str]) -> dict[str, int]:
        """The node of each name; those that are new get the next ones, in the order in which they came."""
        wanted = dict.fromkeys(names)
        (least,) = self._db.execute("SELECT coalesce(min(id), 0) FROM node").fetchone()
        found: dict[str, int] = {}
        for name in wanted:
            packed = _packed(name)
            known = self._db.execute("SELECT id FROM node WHERE name = ?", (packed,)).fetchone()
            if known is None:
                least -= 1
                self._db.execute("INSERT INTO node VALUES (?, ?)", (least, packed))
                found[name] = least
            else:
                found[name] = known[0]
        return found


def _named(one: Linked) -> Iterator[str]:
    yield from (name for name, _ in one.takes)
    yield from one.gives
    for link in one.passes:
        yield from link


def _packed(name: str) -> bytes:
    prefix, _, rest = name.partition(":")
    return _LETTERS[prefix] + bytes.fromhex(rest) if prefix in _LETTERS else b"-" + name.encode()


def _unpacked(packed: bytes) -> str:
    prefix = _PREFIXES.get(packed[:1])
    return packed[1:].decode() if prefix is None else f"{prefix}:{packed[1:].hex()}"
