"""Read a log on from where a pack ends, as far as it can say who took the release back (`grants.withdrawn`).

What is read is not verified here: the caller extends the pack's tree by every leaf that comes out, and compares it with one that
witnesses cosigned.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from keyturn.errors import KeyturnError, Malformed, Unavailable
from keyturn.formats import leaf as leaf_format
from keyturn.formats.digest import Sha256
from keyturn.formats.leaf import Leaf
from keyturn.grants.withdrawn import Entry, matters
from keyturn.ports import LogReader

__all__ = ["entries_about", "leaves_since"]

_BATCH = 4096


def leaves_since(
    log: LogReader, at: int, size: int, *, request: str
) -> Iterator[tuple[Sequence[bytes], Iterator[tuple[int, Leaf]]]]:
    """The leaves from `at`, where the pack ends, up to `size`, run by run, and those of each that matter to `request`."""
    if size < at:
        raise Unavailable("log-behind", f"the log shows {size} entries, and the pack is of one with {at}")
    while at < size:
        leaves = log.leaves(at, min(at + _BATCH, size))
        if not leaves:
            raise Unavailable("log-range", f"the log gave no leaves after {at} of {size}")
        yield leaves, ((index, leaf) for index, leaf in _parsed(at, leaves) if matters(leaf, request))
        at += len(leaves)


def entries_about(log: LogReader, found: Iterable[tuple[int, Leaf]]) -> list[Entry]:
    """The entries `found` with what the log has of each; a record that cannot be had is `None`."""
    entries = []
    for index, leaf in found:
        try:
            raw: bytes | None = log.envelope(Sha256(leaf.envelope))
        except KeyturnError:
            raw = None
        entries.append(Entry(index, leaf, raw))
    return entries


def _parsed(start: int, leaves: Sequence[bytes]) -> Iterator[tuple[int, Leaf]]:
    for index, raw in enumerate(leaves, start):
        try:
            yield index, leaf_format.parse(raw)
        except Malformed:
            continue  # the leaf of no record
