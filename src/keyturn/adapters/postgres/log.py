"""The lab's log in PostgreSQL, opened for writing: `ports.LogKeeper` for any number of service processes on one database.

One append of a group of waiting records is one transaction:

(1) it takes the log's lock, an advisory one that ends with the transaction, so that one process appends at a time;
(2) it reads the newest batch's tree. What others appended is verified to follow what this process knew; a log that is shorter or
    another tree is `Tampered`, and a database that was started again or put back is not written to before the witnesses were
    asked;
(3) it looks for each record by its digest: a record that is there, with its own leaf, has its index already;
(4) it adds envelopes, leaves, the tree after them, and their index rows;
(5) it commits, synchronously. Then the group is acknowledged.

When the connection is lost, nobody knows what became of (5). So all of it is done again: (1) waits until the lost transaction
ended, and (3) finds what it wrote. Every acknowledgement follows a commit of this process that wrote something, also when all
records were there: so a standby that must confirm has confirmed them (docs/decisions/0012-log-in-postgresql.md).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any, Literal, Self

from keyturn.adapters.group_commit import GroupCommit, Waiting
from keyturn.adapters.log_entry import leaf_text
from keyturn.adapters.postgres import batches, index
from keyturn.adapters.postgres.connections import Connections, Database, commit
from keyturn.adapters.postgres.notes import Notes
from keyturn.adapters.postgres.reader import LogInPostgresReader
from keyturn.adapters.postgres.schema import require_ready
from keyturn.errors import KeyturnError, Refused, Tampered, Unavailable
from keyturn.formats import leaf as leaf_format
from keyturn.formats.digest import Sha256
from keyturn.formats.leaf import Leaf
from keyturn.formats.records import leaf_of
from keyturn.formats.tile import TilePath
from keyturn.tlog import merkle
from keyturn.tlog.frontier import Frontier

__all__ = ["LogInPostgres", "reindex", "verify_batches"]

_GROUP_BYTES_MAX = 4 << 20
_PATIENCE_S = 20.0
"""How long a group waits for a database that went away, before who waits is told that nobody knows."""
_PAUSE_S = 0.1

_LOCK = "SELECT pg_advisory_xact_lock(1803910252, 0)"  # "keyl"
_SAME_DATABASE = """SELECT pg_postmaster_start_time()::text, 'log.batch'::regclass::oid::bigint,
  pg_relation_filenode('log.batch')::bigint, (SELECT oid::bigint FROM pg_database WHERE datname = current_database())"""
_PUBLISHED = "SELECT FROM log.note WHERE which = 'checkpoint'"
_TWINS_MAX = 8
"""Entries that name one envelope and are looked at, the newest first, before a record is appended once more."""
_KNOWN = f"""SELECT encode(wanted.envelope, 'hex'), found.idx FROM unnest(%s::bytea[], %s::bytea[]) AS wanted(record, envelope)
  CROSS JOIN LATERAL (SELECT idx FROM index.entry WHERE record = wanted.record AND envelope = wanted.envelope
    ORDER BY idx DESC LIMIT {_TWINS_MAX}) AS found ORDER BY found.idx DESC"""  # noqa: S608  # constants of this file
_ADD_ENVELOPES = """INSERT INTO log.envelope (sha256, idx, content)
  SELECT * FROM unnest(%s::bytea[], %s::bigint[], %s::bytea[]) ON CONFLICT (sha256) DO NOTHING"""
_WRITE_SOMETHING = "SELECT pg_logical_emit_message(true, 'keyturn', '')"

_Incarnation = tuple[Any, ...]
"""What differs once the server was started again, or database or table were made or filled again: it may be an older log."""


class LogInPostgres:
    """Append with `append` from any number of threads; `close` when done, or use as a context manager."""

    def __init__(self, connections: Connections) -> None:
        """Check the database and the log in it; `Tampered` when it is not what its own notes say."""
        self._connections = connections
        self._reader = LogInPostgresReader(connections)
        self._notes = Notes(connections)
        self._lock = threading.Lock()
        """Held to read or set what follows; never while the database is asked."""
        self._tail = Frontier.empty()
        self._incarnation: _Incarnation | None = None
        self._refusal: KeyturnError | None = None
        self._was_confirmed = False
        self._replaced: KeyturnError | None = None
        """That the database is another than the one the witnesses were asked about, until `settle` has said so."""
        require_ready(connections)
        self._open()
        self._closing = threading.Event()
        self._group = GroupCommit(self._commit, count_max=batches.COUNT_MAX, bytes_max=_GROUP_BYTES_MAX)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Commit what is waiting (the connections stay open: they are the caller's)."""
        self._closing.set()
        self._group.close()

    @property
    def size(self) -> int:
        """Entries that are durable, as far as this process knows."""
        return self._tail.size

    def append(self, envelope: bytes) -> int:
        """`LogWriter.append`: durable when it returns. The record's leaf is computed here, and nothing is verified."""
        return self.append_leaf(envelope, leaf_of(envelope))

    def append_leaf(self, envelope: bytes, leaf: Leaf) -> int:
        """Append an envelope whose `leaf` the caller computed with `leaf_of`."""
        return self._group.submit(_waiting(envelope, leaf))

    def append_leaves(self, records: Iterable[tuple[bytes, Leaf]]) -> list[int]:
        """`append_leaf` of many at once: all are durable when it returns. When it raises, some of them may be."""
        return self._group.submit_all([_waiting(envelope, leaf) for envelope, leaf in records])

    def checkpoint(self) -> bytes:
        return self._reader.checkpoint()

    def leaves(self, start: int, end: int) -> Sequence[bytes]:
        return self._reader.leaves(start, end)

    def hashes(self, level: int, start: int, end: int) -> Sequence[bytes]:
        return self._reader.hashes(level, start, end)

    def envelope(self, digest: Sha256) -> bytes:
        return self._reader.envelope(digest)

    def tile(self, path: TilePath) -> bytes:
        """A tile or entry bundle as it is served, or `Unavailable`."""
        return self._reader.tile(path)

    def note(self, which: Literal["checkpoint", "signed"]) -> bytes | None:
        return self._notes.read(which)

    def swap(self, which: Literal["checkpoint", "signed"], old: bytes | None, new: bytes) -> None:
        self._notes.swap(which, old, new)

    def settle(self) -> Frontier:
        """The tree that may be signed next; the index is there already, and tiles are made as they are read."""
        tail = self._connections.again(self._catch_up)
        with self._lock:
            replaced, self._replaced = self._replaced, None
        if replaced is not None:
            raise replaced
        return tail

    def confirm(self, size: int, root: bytes) -> None:
        frontier = self.settle()
        with self._lock:
            asked_of = self._incarnation
        found: KeyturnError | None = None
        if size > frontier.size:
            found = Refused(
                "log-behind-witnesses",
                f"the log has {frontier.size} entries, and its witnesses have seen {size}: it was restored from a backup or cut",
                hint="restore the newest state of the database; writing on would fork the log",
            )
        elif merkle.root_at(size, self.hashes) != root:
            found = Tampered("log-fork", f"the witnesses have seen another tree of {size} entries than this log's")
        self.settle()
        with self._lock:
            if self._incarnation != asked_of:
                raise _unconfirmed()  # what was compared is no longer what is there
            if not isinstance(self._refusal, (Refused, Tampered)):
                self._refusal = found
            self._was_confirmed = True
            if self._refusal is not None:
                raise self._refusal

    def _open(self) -> None:
        signed = [body for which in ("signed", "checkpoint") if (body := self._notes.read_body(which)) is not None]
        with self._connections.borrowed() as db:
            newest = batches.last(db)
            if newest is not None:
                self._tail = newest.frontier
            self._incarnation = _incarnation(db)
        for body in signed:
            if body.size > self._tail.size:
                raise Tampered(
                    "log-goes-back", f"the log holds {self._tail.size} entries, and it signed a tree of {body.size}"
                )
            if merkle.root_at(body.size, self.hashes) != body.root:
                raise Tampered(
                    "checkpoint-fork", f"the log is another tree of {body.size} entries than the one it signed"
                )
        if merkle.root_at(self._tail.size, self.hashes) != self._tail.root:
            raise Tampered(
                "log-batch-tree",
                f"the batches up to entry {self._tail.size} do not make the tree they say, or the index is wrong",
                hint="keyturn log reindex, which verifies all of them",
            )
        if self._notes.read("checkpoint") is not None:
            self._refusal = _unconfirmed()

    def _catch_up(self, db: Database) -> Frontier:  # (2)
        """Verify what others appended, and remember the tree after it."""
        known = tail = self._tail
        newest = batches.tail_of(db)
        incarnation = _incarnation(db)
        if newest.size < known.size:
            raise Tampered(
                "log-goes-back", f"the log holds {newest.size} entries, and this process has seen {known.size}"
            )
        if newest.size == known.size and newest != known:
            raise Tampered("log-fork", f"the log is another tree of {known.size} entries than it was")
        if newest.size > known.size:
            for found in batches.after(db, known):
                tail = found.frontier
        published = incarnation != self._incarnation and bool(db.execute(_PUBLISHED).fetchall())
        with self._lock:
            if tail.size > self._tail.size:
                self._tail = tail
            if incarnation != self._incarnation:
                self._incarnation = incarnation
                if self._refusal is None and (published or self._was_confirmed):
                    self._refusal = self._replaced = _unconfirmed()
        return tail

    def _commit(self, group: list[Waiting]) -> None:
        until = time.monotonic() + _PATIENCE_S
        unknown = False
        while True:
            began_commit = threading.Event()
            try:
                self._append(group, began_commit)
                return
            except KeyturnError as err:
                unknown = unknown or (began_commit.is_set() and err.code == "store-unreachable")
                lost = err.code == "store-unreachable" and not self._closing.is_set() and time.monotonic() < until
                if not lost:
                    for waiting in group:
                        waiting.error = _nobody_knows(err) if unknown else err
                    return
            self._closing.wait(_PAUSE_S)

    def _append(self, group: list[Waiting], began_commit: threading.Event) -> None:
        with self._connections.borrowed() as db:
            db.execute("BEGIN")
            db.execute(_LOCK)  # (1)
            tail = self._catch_up(db)
            with self._lock:
                if self._refusal is not None:
                    raise self._refusal
            fresh = _fresh(db, group, tail.size)  # (3)
            if fresh:  # (4)
                leaves = [waiting.leaf for waiting in fresh]
                frontier = tail.extend(leaves)
                _add_envelopes(db, fresh)
                batches.insert(db, tail.size, leaves, frontier)
                index.add(db, tail, leaves)
            else:
                frontier = tail
                db.execute(_WRITE_SOMETHING)
            began_commit.set()
            commit(db)  # (5)
        with self._lock:
            if frontier.size > self._tail.size:
                self._tail = frontier


def verify_batches(connections: Connections, *, size_min: int) -> int:
    """Verify every batch, and that there are at least `size_min` entries; return how many there are."""
    frontier = Frontier.empty()
    with connections.borrowed() as db:
        for found in batches.after(db, frontier):
            frontier = found.frontier
    if frontier.size < size_min:
        raise Tampered(
            "log-behind-checkpoint", f"expected {size_min} entries or more, the batches hold {frontier.size}"
        )
    return frontier.size


def reindex(connections: Connections) -> int:
    """Make the index again from the log, verifying every batch, and return how many entries there are. Appends wait meanwhile."""
    with connections.borrowed() as db:
        db.execute("BEGIN")
        db.execute(_LOCK)
        db.execute("SET LOCAL statement_timeout = 0")
        frontier = index.rebuild(db)
        commit(db)
    return frontier.size


def _fresh(db: Database, group: list[Waiting], size: int) -> list[Waiting]:
    """Those of `group` that the log does not have; the others get their index.

    Whoever had the database may have written a leaf that only names the same envelope, or the envelope without a leaf.
    """
    records = [bytes.fromhex(leaf_format.parse(waiting.leaf).record) for waiting in group]
    envelopes = [bytes.fromhex(waiting.digest) for waiting in group]
    known: dict[str, list[int]] = {}
    for envelope, idx in db.execute(_KNOWN, (records, envelopes), binary=True).fetchall():
        known.setdefault(envelope, []).append(idx)
    fresh: dict[tuple[str, bytes], Waiting] = {}
    for waiting in group:
        places = known.get(waiting.digest, [])
        found = next((idx for idx in places if batches.leaf_at(db, idx) == waiting.leaf), None)
        if found is None:
            first = fresh.setdefault((waiting.digest, waiting.leaf), waiting)
            found = size + len(fresh) - 1 if first is waiting else first.index
        waiting.index = found
    return list(fresh.values())


def _add_envelopes(db: Database, fresh: Sequence[Waiting]) -> None:
    db.execute(
        _ADD_ENVELOPES,
        (
            [bytes.fromhex(waiting.digest) for waiting in fresh],
            [waiting.index for waiting in fresh],
            [waiting.envelope for waiting in fresh],
        ),
    )


def _incarnation(db: Database) -> _Incarnation | None:
    return db.execute(_SAME_DATABASE, binary=True).fetchone()


def _unconfirmed() -> Unavailable:
    return Unavailable(
        "log-unconfirmed",
        "the log was published, and its witnesses were not asked whether it is behind since the database was opened or replaced",
        hint="start the witnesses: keyturn up",
    )


def _nobody_knows(err: KeyturnError) -> Unavailable:
    return Unavailable(
        "store-outcome-unknown",
        "the database went away while it committed: the record may be in the log, or not",
        hint="submit the same record again: it keeps the index that it has",
        detail=err.detail,
    )


def _waiting(envelope: bytes, leaf: Leaf) -> Waiting:
    return Waiting(envelope, leaf.envelope, leaf_text(envelope, leaf))
