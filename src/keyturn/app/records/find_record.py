"""Find one record by its id, or by any unique prefix of it: `req-1a2b3c4d`.

The index is not evidence. What it says of a record is held against the log's own leaf before anybody acts on it (`held_against`),
and the leaf against a witnessed checkpoint by whoever proves it (`app.log.prove_entry`). An index can still hide a record.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import TypeVar

from keyturn.errors import Malformed, Refused, Tampered, Unavailable, Usage
from keyturn.formats import leaf as leaf_format
from keyturn.formats import records
from keyturn.formats.digest import Sha256
from keyturn.formats.leaf import KINDS, Leaf
from keyturn.ports import IndexedRecord, LogReader, RecordIndex

__all__ = ["find_entry", "find_record", "held_against", "only_one", "record_prefix"]

T = TypeVar("T")

_ID = re.compile(r"(?:([a-z]{3})-)?([0-9a-f]{8,64})\Z", re.ASCII)
_LISTED_BY = {
    "req": "keyturn grant list",
    "sus": "keyturn trust suspended",
    "brk": "keyturn grant unreviewed",
    "ofr": "keyturn grant show REQUEST",
}


def record_prefix(text: str, kinds: Collection[str] = KINDS) -> tuple[str, str]:
    """The kind and the digits of a record id that somebody typed; without a kind it is the only one of `kinds`.

    Raises `Usage` `record-id` for another form or kind.
    """
    found = _ID.match(text)
    kind = found[1] or (next(iter(kinds)) if len(kinds) == 1 else "") if found is not None else ""
    if found is None or kind not in kinds:
        example = next(iter(kinds)) if len(kinds) == 1 else "req"
        raise Usage(
            "record-id",
            f"expected a record id as `{example}-1a2b3c4d`, 8 to 64 hex digits, got `{text[:80]}`",
            hint=_LISTED_BY.get(example if len(kinds) == 1 else "", "keyturn log show"),
        )
    return kind, found[2]


def only_one(text: str, found: Collection[T]) -> T:
    """The one of `found`, which are there and whose ids begin as `text` does; `Usage` `record-ambiguous` for several."""
    if len(found) > 1:
        raise Usage(
            "record-ambiguous", f"`{text[:80]}` begins the ids of {len(found)} records", hint="type more digits"
        )
    return next(iter(found))


def find_record(index: RecordIndex, text: str) -> IndexedRecord:
    """Give the one record that `text` names; the caller verifies what it then reads.

    Raises `Usage` `record-id` for another form and `record-ambiguous`, `Refused` `record-not-found`.
    """
    kind, prefix = record_prefix(text)
    known = {record.record: record for record in index.by_record(prefix) if record.kind == kind}
    if not known:
        raise Refused("record-not-found", f"the log has no record `{text}`", hint="keyturn log show")
    return only_one(text, known.values())


def find_entry(reader: LogReader, index: RecordIndex, text: str) -> IndexedRecord:
    """Give the log entry of the one record that `text` names: of several that name it, the first whose leaf is the record's own.

    Others may name it: whoever had the log for a moment can write leaves that lie. Raises as `find_record`; `Refused`
    `record-twins` when several name it, and of none the text can be had.
    """
    found = find_record(index, text)
    named = index.by_record(found.record, found.kind)
    if len(named) == 1:
        return named[0]
    for one in named:
        if _is_own(reader, one):
            return one
    raise Refused(
        "record-twins",
        f"{len(named)} entries name `{text}`, and which is the record's own cannot be told without its text: "
        + ", ".join(str(one.index) for one in named[:20]),
        hint="name the entry itself: keyturn log prove INDEX",
    )


def _is_own(reader: LogReader, found: IndexedRecord) -> bool:
    try:
        (raw,) = reader.leaves(found.index, found.index + 1)
        leaf = leaf_format.parse(raw)
        held_against(found, leaf)
        envelope = reader.envelope(Sha256(leaf.envelope))
        return records.leaf_of(envelope) == leaf
    except (Malformed, Tampered, Unavailable):
        return False


def held_against(found: IndexedRecord, leaf: Leaf) -> None:
    """Raise `Tampered` `index-lies` unless `leaf`, which the log has at that place, is that of the record."""
    if (found.kind, found.record, found.envelope) != (leaf.kind, leaf.record, leaf.envelope):
        raise Tampered(
            "index-lies",
            f"the index has `{found.kind}-{found.record[:16]}` at entry {found.index}, where the log has "
            f"`{leaf.kind}-{leaf.record[:16]}`",
            hint="keyturn log reindex, where the log lies; elsewhere tell its operator",
        )
