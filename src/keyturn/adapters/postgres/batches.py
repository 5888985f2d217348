"""The rows of `log.batch`: what one transaction appended, and how each follows the one before it.

A row's `sha256` is of first (8 bytes, big-endian), count (4), leaves and frontier. Envelopes are addressed by their own
SHA-256, which their leaf names, so a row answers for them as well. Whoever reads rows to go on from them verifies them here:
`Tampered` says which entry they begin at.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from keyturn.adapters.postgres.connections import Database
from keyturn.errors import Malformed, Tampered
from keyturn.formats.tile import parse_bundle
from keyturn.tlog.frontier import Frontier

__all__ = ["COUNT_MAX", "StoredBatch", "after", "insert", "last", "leaf_at", "tail_of"]

COUNT_MAX = 1024
_ROWS = 64
"""Rows that are read at once, of up to 1024 leaves each."""

_HEAD = struct.Struct(">QI")
_U16 = struct.Struct(">H")
_COLUMNS = "first, count, leaves, frontier, sha256"
_TAIL = "SELECT first + count, frontier FROM log.batch ORDER BY first DESC LIMIT 1"
_LAST = f"SELECT {_COLUMNS} FROM log.batch ORDER BY first DESC LIMIT 1"  # noqa: S608  # constants
_AFTER = f"SELECT {_COLUMNS} FROM log.batch WHERE first >= %s ORDER BY first LIMIT {_ROWS}"  # noqa: S608  # constants
_AROUND = "SELECT first, count, leaves FROM log.batch WHERE first <= %s ORDER BY first DESC LIMIT 1"
_INSERT = f"INSERT INTO log.batch ({_COLUMNS}) VALUES (%s, %s, %s, %s, %s)"  # noqa: S608  # constants


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """A row that is intact: its leaves, and the tree that it says is there after them."""

    first: int
    leaves: tuple[bytes, ...]
    frontier: Frontier


def tail_of(db: Database) -> Frontier:
    """The tree after the newest row; not verified."""
    found = db.execute(_TAIL, binary=True).fetchone()
    return Frontier.empty() if found is None else _frontier(found[0], found[1])


def last(db: Database) -> StoredBatch | None:
    """The newest row, intact, or `None` in an empty log."""
    found = db.execute(_LAST, binary=True).fetchone()
    return None if found is None else _parse(found)


def after(db: Database, frontier: Frontier) -> Iterator[StoredBatch]:
    """Every row behind `frontier`, each intact and each making the tree that it says."""
    while rows := db.execute(_AFTER, (frontier.size,), binary=True).fetchall():
        for row in rows:
            found = _parse(row)
            if found.first != frontier.size:
                raise Tampered(
                    "log-batch-order", f"expected a batch at entry {frontier.size}, got one at {found.first}"
                )
            if frontier.extend(found.leaves) != found.frontier:
                raise Tampered(
                    "log-batch-tree", f"the batches up to entry {found.frontier.size} do not make the tree they say"
                )
            frontier = found.frontier
            yield found


def leaf_at(db: Database, index: int) -> bytes | None:
    """The leaf of entry `index`, not verified; `None` when no batch has it."""
    found = db.execute(_AROUND, (index,), binary=True).fetchone()
    if found is None or index >= found[0] + found[1]:
        return None
    first, count, packed = found
    try:
        leaves = parse_bundle(packed, width=count)
    except Malformed:
        return None
    leaf: bytes = leaves[index - first]
    return leaf


def insert(db: Database, first: int, leaves: Sequence[bytes], frontier: Frontier) -> None:
    """Add the row for `leaves`, after which the tree is `frontier`."""
    packed = b"".join([part for leaf in leaves for part in (_U16.pack(len(leaf)), leaf)])
    nodes = b"".join(frontier.nodes)
    db.execute(_INSERT, (first, len(leaves), packed, nodes, _digest(first, len(leaves), packed, nodes)))


def _parse(row: tuple[Any, ...]) -> StoredBatch:
    first, count, packed, nodes, digest = row
    if _digest(first, count, packed, nodes) != digest:
        raise Tampered(
            "log-batch-altered", f"the batch at entry {first} is not what was written: its digest is another"
        )
    try:
        leaves = parse_bundle(packed, width=count)
    except Malformed as err:
        raise Tampered("log-batch", f"batch at entry {first}: its digest is right and its counts are not") from err
    return StoredBatch(first, leaves, _frontier(first + count, nodes))


def _frontier(size: int, nodes: bytes) -> Frontier:
    try:
        return Frontier(size, tuple(nodes[at : at + 32] for at in range(0, len(nodes), 32)))
    except Malformed as err:
        raise Tampered("log-batch-tree", f"the batch before entry {size} has no tree of {size} entries") from err


def _digest(first: int, count: int, packed: bytes, nodes: bytes) -> bytes:
    return hashlib.sha256(_HEAD.pack(first, count) + packed + nodes).digest()
