"""Find one record by its id, or by any unique prefix of it: `req-1a2b3c4d`.

The index is not evidence. What it says of a record is held against the log's own leaf before anybody acts on it (`held_against`),
and the leaf against a witnessed checkpoint by whoever proves it (`app.prove_entry`). An index can still hide a record.
"""

from __future__ import annotations

import re

from keyturn.errors import Refused, Tampered, Usage
from keyturn.formats.leaf import KINDS, Leaf
from keyturn.ports import IndexedRecord, RecordIndex

__all__ = ["find_record", "held_against"]

_ID = re.compile(r"([a-z]{3})-([0-9a-f]{8,64})\Z")


def find_record(index: RecordIndex, text: str) -> IndexedRecord:
    """Give the one record that `text` names; the caller verifies what it then reads.

    Raises `Usage` `record-id` for another form, `Refused` `record-not-found` and `record-ambiguous`.
    """
    found = _ID.match(text)
    if found is None or found[1] not in KINDS:
        raise Usage("record-id", f"expected a record id as `req-1a2b3c4d`, got `{text[:80]}`", hint="keyturn log show")
    known = [record for record in index.by_record(found[2]) if record.kind == found[1]]
    if not known:
        raise Refused("record-not-found", f"the log has no record `{text}`", hint="keyturn log show")
    if len({record.record for record in known}) > 1:
        raise Refused("record-ambiguous", f"`{text}` begins the ids of {len(known)} records", hint="type more digits")
    return known[0]


def held_against(found: IndexedRecord, leaf: Leaf) -> None:
    """Raise `Tampered` `index-lies` unless `leaf`, which the log has at that place, is that of the record."""
    if (found.kind, found.record, found.envelope) != (leaf.kind, leaf.record, leaf.envelope):
        raise Tampered(
            "index-lies",
            f"the index has `{found.kind}-{found.record[:16]}` at entry {found.index}, where the log has "
            f"`{leaf.kind}-{leaf.record[:16]}`",
            hint="keyturn log reindex, where the log lies; elsewhere tell its operator",
        )
