"""Know which records people asked to erase, so that their text is not written again when somebody sends it once more.

Which record each tombstone names is held in memory, and followed from the log's index: a lab has few, and each record that is
submitted is looked for. What a tombstone is worth is judged anew each time it matters.
"""

from __future__ import annotations

from collections.abc import Sequence

from keyturn.errors import Malformed, Refused, Tampered, Unavailable
from keyturn.formats import leaf as leaf_format
from keyturn.grants.known import Erasure
from keyturn.grants.tombstones import require_counts
from keyturn.ports import IndexedRecord, LogReader, RecordIndex
from keyturn.trust.roster import TrustState

__all__ = ["Erasures"]

_TAG = "erases:"


class Erasures:
    """The tombstones of one log. `follow` is for one thread at a time; everything else is safe for threads."""

    def __init__(self, index: RecordIndex, reader: LogReader) -> None:
        self._index = index
        self._reader = reader
        self._named: dict[str, tuple[IndexedRecord, ...]] = {}
        self._read_to = 0

    def follow(self) -> None:
        """Read the tombstones that came since; raises what index and log raise, and reads them the next time."""
        while found := self._index.of_kinds(("tmb",), start=self._read_to):
            for known in found:
                (raw,) = self._reader.leaves(known.index, known.index + 1)
                try:
                    about = leaf_format.parse(raw).about
                except Malformed:
                    about = ()  # the index is not evidence
                for tag in about:
                    record = tag.removeprefix(_TAG)
                    if record != tag:
                        self._named[record] = (*self._named.get(record, ()), known)
                self._read_to = known.index + 1

    def asked_for(self, record: str, states: Sequence[TrustState]) -> bool:
        """Whether as many people as it takes signed that the text of `record` shall go, under any of the lab's `states`."""
        erasure = Erasure()
        for found in self._named.get(record, ()):
            for trust in reversed(states):
                try:
                    (leaf,) = map(leaf_format.parse, self._reader.leaves(found.index, found.index + 1))
                    made = require_counts(leaf, self._reader.envelope(found.envelope), trust)
                except (Malformed, Refused, Tampered, Unavailable):
                    continue
                erasure = erasure.signed(made.member, at=found.index, trust=trust)
                break
        return erasure.index is not None
