"""Hold the records of a pack against its log: each is proved to be where it says, and none that counts is missing.

Step 4 of `app.custody.verify_pack`. What is yielded is (code, sentence), one for each failure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from keyturn.crypto.dsse_signing import verify_one
from keyturn.custody.afterwards import carried, says_nothing_more
from keyturn.custody.pack_index import PackIndex
from keyturn.custody.timeline import TrustTimeline
from keyturn.errors import KeyturnError, Refused
from keyturn.formats import records
from keyturn.formats.digest import Sha256
from keyturn.formats.records import Opened, Sealed
from keyturn.tlog import merkle
from keyturn.tlog.inclusions import Inclusions
from keyturn.tlog.verify_checkpoint import WitnessedCheckpoint
from keyturn.trust.signers import signed_by

__all__ = ["is_forged", "misplaced", "missing", "unproved"]

_OF_REQUEST = frozenset({"req", "apr", "den", "rev", "use"})
_Failures = Iterator[tuple[str, str]]


def unproved(own: Mapping[int, Sealed], proofs: Sequence[bytes], checkpoint: WitnessedCheckpoint) -> _Failures:
    """Records whose inclusion proof, in the records' order, does not lead to the checkpoint's root."""
    tree = Inclusions(size=checkpoint.checkpoint.size, root=checkpoint.checkpoint.root)
    for (place, one), proof in zip(own.items(), proofs, strict=True):
        hashed = merkle.leaf_hash(one.opened.leaf_text)
        try:
            tree.verify(hashed, index=place, proof=proof)
        except KeyturnError as err:
            yield "pack-record-unproved", f"log index {place}: the record is not in the log there: {err.message}"


def misplaced(index: PackIndex, own: Mapping[int, Sealed], leaves: tuple[bytes, ...]) -> _Failures:
    """Records that are not those of their leaf, or that the pack index does not name."""
    indexed = {one.index: one for one in index.statements}
    for place, sealed in own.items():
        opened = sealed.opened
        if place >= index.size:
            if place - index.size >= len(leaves) or opened.leaf_text != leaves[place - index.size]:
                yield "pack-record-other", f"log index {place}: the record is not the one of its leaf"
            continue
        one, leaf = indexed.get(place), opened.leaf
        if one is None:
            yield "pack-record-unknown", f"log index {place}: the record is no statement of the pack index"
        elif one.record != leaf.record or one.envelope != leaf.envelope or one.kind != leaf.kind:
            yield "pack-record-other", f"log index {place}: the record is not the one that the pack index names"


def missing(index: PackIndex, own: Mapping[int, Sealed], leaves: tuple[bytes, ...], request: Sha256) -> _Failures:
    """Statements that the index names and the pack lacks, and records after it that could count against the release."""
    for one in index.statements:
        if one.index not in own:
            yield (
                "pack-statement-missing",
                f"log index {one.index}: the pack lacks a `{one.kind}` statement that its index names",
            )
    for place, leaf in carried(leaves, request, start=index.size):
        if place not in own and not says_nothing_more(leaf, (one.opened.leaf for one in own.values())):
            yield (
                "pack-record-missing",
                f"log index {place}: the pack lacks a record that can count against the release",
            )


def is_forged(index: int, one: Opened, trusted: TrustTimeline) -> bool:
    """Whether `one`, about a request, is signed by nobody who may have signed it: then it is in the log, and has no effect."""
    if one.leaf.kind not in _OF_REQUEST:
        return False
    trust = trusted.before(index)
    if trust is None:
        return False
    record = records.parse(one.raw)
    try:
        verify_one(record.envelope, signed_by(record.statement.predicate, trust).key)
    except Refused:
        return True
    return False
