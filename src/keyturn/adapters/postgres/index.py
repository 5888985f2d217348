"""The index in PostgreSQL: `ports.RecordIndex`, added to by the transaction that appends, and made again from the log at any
time.

`index.entry` has a row for each leaf, `index.tag` one for each tag of each leaf, `index.subtree` what higher tiles hold. Each
look-up is a walk along one B-tree that ends after a thousand rows, so its time does not grow with the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from keyturn.adapters.postgres import batches
from keyturn.adapters.postgres.connections import Connections, Database
from keyturn.adapters.postgres.subtrees import completed
from keyturn.errors import Malformed
from keyturn.formats import leaf as leaf_format
from keyturn.formats.digest import Sha256
from keyturn.formats.leaf import Kind, Leaf
from keyturn.ports import IndexedRecord
from keyturn.tlog import merkle
from keyturn.tlog.frontier import Frontier

__all__ = ["IndexInPostgres", "add", "rebuild"]

_FOUND = "idx, kind, encode(record, 'hex'), encode(envelope, 'hex'), until"
# A prefix of two digits or more finds few: those are found first, and then put in order. A shorter one finds so many that the
# first thousand come soon in the order of the log. The planner cannot tell which is which.
_BY_RECORD = f"""WITH found AS MATERIALIZED (SELECT * FROM index.entry WHERE record BETWEEN %s AND %s)
  SELECT {_FOUND} FROM found WHERE %s::text IS NULL OR kind = %s ORDER BY idx LIMIT 1000"""  # noqa: S608  # constants of this file
_BY_SHORT_PREFIX = f"""SELECT {_FOUND} FROM index.entry WHERE encode(record, 'hex') LIKE %s || '%%'
  AND (%s::text IS NULL OR kind = %s) ORDER BY idx LIMIT 1000"""  # noqa: S608  # constants of this file
_BY_TAG = f"""SELECT {_FOUND} FROM (SELECT idx FROM index.tag WHERE tag = %s ORDER BY idx LIMIT 1000) AS found
  JOIN index.entry USING (idx) ORDER BY idx"""  # noqa: S608  # constants of this file
_BY_KIND = f"""SELECT {_FOUND} FROM unnest(%s::text[]) AS wanted CROSS JOIN LATERAL (
  SELECT * FROM index.entry WHERE kind = wanted AND idx >= %s ORDER BY idx LIMIT 1000) AS found
  ORDER BY idx LIMIT 1000"""  # noqa: S608  # constants of this file
_ADD_ENTRIES = """INSERT INTO index.entry (idx, kind, record, envelope, until)
  SELECT * FROM unnest(%s::bigint[], %s::text[], %s::bytea[], %s::bytea[], %s::bigint[])"""
_ADD_TAGS = "INSERT INTO index.tag (tag, idx) SELECT * FROM unnest(%s::text[], %s::bigint[])"
_ADD_SUBTREES = """INSERT INTO index.subtree (level, idx, hash)
  SELECT * FROM unnest(%s::smallint[], %s::bigint[], %s::bytea[])"""


class IndexInPostgres:
    """Look records up. Safe for threads; the connections stay open: they are the caller's."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def by_record(self, prefix: str, kind: Kind | None = None) -> tuple[IndexedRecord, ...]:
        """Records whose digest begins with `prefix` (hex), of one kind or of any, in log order."""
        if len(prefix) > 64 or prefix.strip("0123456789abcdef"):
            return ()
        if len(prefix) < 2:
            return self._records(_BY_SHORT_PREFIX, (prefix, kind, kind))
        first, last = (bytes.fromhex(prefix.ljust(64, filler)) for filler in "0f")
        return self._records(_BY_RECORD, (first, last, kind, kind))

    def about(self, tag: str) -> tuple[IndexedRecord, ...]:
        """Records whose leaf carries `tag`, in log order."""
        return () if "\0" in tag else self._records(_BY_TAG, (tag,))

    def of_kinds(self, kinds: Iterable[Kind], *, start: int = 0) -> tuple[IndexedRecord, ...]:
        """Records of `kinds` from index `start` on, in log order."""
        return self._records(_BY_KIND, (sorted(set(kinds)), start))

    def _records(self, statement: str, parameters: Sequence[object]) -> tuple[IndexedRecord, ...]:
        return tuple(
            IndexedRecord(index=idx, kind=kind, record=Sha256(record), envelope=Sha256(envelope), until=until)
            for idx, kind, record, envelope, until in self._connections.read(statement, parameters)
        )


def add(db: Database, before: Frontier, leaves: Sequence[bytes]) -> None:
    """Add the rows for `leaves`, which come behind `before`; a text that is no leaf has none."""
    read = [(before.size + i, leaf) for i, raw in enumerate(leaves) if (leaf := _leaf(raw)) is not None]
    places, parsed = [idx for idx, _ in read], [leaf for _, leaf in read]
    db.execute(
        _ADD_ENTRIES,
        (
            places,
            [leaf.kind for leaf in parsed],
            [bytes.fromhex(leaf.record) for leaf in parsed],
            [bytes.fromhex(leaf.envelope) for leaf in parsed],
            [leaf.until for leaf in parsed],
        ),
    )
    tags: list[tuple[str, int]] = [(tag, idx) for idx, leaf in zip(places, parsed, strict=True) for tag in leaf.about]
    if tags:
        db.execute(_ADD_TAGS, _columns(tags))
    made = completed(before, merkle.leaf_hashes(leaves))
    if made:
        db.execute(_ADD_SUBTREES, _columns(made))


def rebuild(db: Database) -> Frontier:
    """Make the index again from the log, in the transaction of `db`, verifying every batch; readers see the old one until it
    commits.
    """
    for table in ("entry", "tag", "subtree"):
        db.execute(f"DELETE FROM index.{table}")  # noqa: S608  # constants
    frontier = Frontier.empty()
    for found in batches.after(db, frontier):
        add(db, frontier, found.leaves)
        frontier = found.frontier
    return frontier


def _columns(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _leaf(raw: bytes) -> Leaf | None:
    try:
        return leaf_format.parse(raw)
    except Malformed:
        return None
