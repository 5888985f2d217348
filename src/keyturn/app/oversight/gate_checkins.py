"""Say when each gate of the lab signed into the log last: its newest check-in, under the key that targets list for it now.

A gate checks in when it starts to work and each hour while it does. That one was seen says that it could reach the log then, and
nothing of what it enforces; but a gate that only observes says so.
"""

from __future__ import annotations

from collections.abc import Iterable

from keyturn.crypto.dsse_signing import verify_one
from keyturn.errors import Malformed, Refused, Tampered, Unavailable
from keyturn.formats import records
from keyturn.formats.access import GateCheckin
from keyturn.ports import IndexedRecord, LogReader, RecordIndex
from keyturn.trust.roster import TrustState
from keyturn.trust.signers import signed_by

__all__ = ["last_checkins"]

_SPAN = 4096
"""Entries that are looked at first, from the log's end; then 16 times as many, until every gate was seen or there are no more."""


def last_checkins(
    reader: LogReader, index: RecordIndex, trust: TrustState, *, size: int
) -> dict[str, GateCheckin | None]:
    """The newest check-in that each gate, by URI, signed in a log of `size` entries; None: never."""
    seen: dict[str, GateCheckin | None] = dict.fromkeys(trust.gates)
    end, span = size, _SPAN
    while end > 0 and None in seen.values():
        start = max(0, end - span)
        for found in _newest_first(index, start, end):
            made = _read(reader, found, trust)
            if made is not None and seen[made.gate] is None:
                seen[made.gate] = made
        end, span = start, span * 16
    return seen


def _newest_first(index: RecordIndex, start: int, end: int) -> Iterable[IndexedRecord]:
    every: list[IndexedRecord] = []
    while start < end and (page := index.of_kinds(("chk",), start=start)):
        every += (one for one in page if one.index < end)
        start = page[-1].index + 1
    return reversed(every)


def _read(reader: LogReader, found: IndexedRecord, trust: TrustState) -> GateCheckin | None:
    """The check-in, if a gate of the lab signed it: the index, and whoever serves it, are not believed."""
    try:
        record = records.parse(reader.envelope(found.envelope))
        made = record.statement.predicate
        if not isinstance(made, GateCheckin):
            return None
        verify_one(record.envelope, signed_by(made, trust).key)
    except (Malformed, Refused, Tampered, Unavailable):
        return None
    return made
