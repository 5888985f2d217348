"""Find one record by its id, or by any unique prefix of it: `req-1a2b3c4d`."""

from __future__ import annotations

import re

from keyturn.errors import Refused, Usage
from keyturn.formats.leaf import KINDS
from keyturn.ports import IndexedRecord, RecordIndex

__all__ = ["find_record"]

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
