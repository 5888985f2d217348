"""Erase the text of records: sign a tombstone, list what tombstones ask for, and have the log's keeper carry it out.

1. Somebody finds a record by its id, sees all that it says, and signs that it shall go, and on which ground.
2. A second human does the same. From the witnessed checkpoint above the last tombstone that it takes, the erasure is in force.
3. Whoever keeps the log erases (`erase`), where it lies. He looks again at what the record says itself, which nobody can do
   afterwards: who is concerned does not count, nor who is suspended by now, and what is live waits.

The leaf stays, and with it every hash and proof. This changes no verdict on access: `grants.tombstones` says why.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from keyturn.app.access.take_away import Hand
from keyturn.app.log.verify_log import VerifiedLog
from keyturn.app.records.find_record import find_record, held_against
from keyturn.app.records.sign_record import Logged, about
from keyturn.errors import KeyturnError, Malformed, Refused, Tampered, Unavailable
from keyturn.formats import leaf as leaf_format
from keyturn.formats import records
from keyturn.formats.digest import Sha256
from keyturn.formats.leaf import Leaf
from keyturn.formats.records import Record
from keyturn.formats.tombstone import Ground, Tombstone
from keyturn.grants import tombstones
from keyturn.grants.known import Known
from keyturn.grants.view import GateView
from keyturn.ports import IndexedRecord, LogEraser, LogReader, RecordIndex
from keyturn.trust.roster import TrustState

__all__ = ["Asked", "Erasable", "asked_for", "erasable_record", "erase", "find_erasable", "sign_tombstone"]


@dataclass(frozen=True, slots=True)
class Erasable:
    """A record whose text may go: its entry, its leaf, and what it says."""

    id: str
    index: int
    leaf: Leaf
    record: Record


@dataclass(frozen=True, slots=True)
class Asked:
    """What tombstones ask for: that the text of the record `id`, at log entry `index`, goes; signed by `signers` so far.

    `waiting` for signers; `due`; `erased`, since the tombstone at entry `tombstone`; or `kept`, and `why`.
    """

    id: str
    index: int
    signers: tuple[str, ...]
    tombstone: int | None
    state: Literal["waiting", "due", "erased", "kept"]
    why: str = ""


def find_erasable(reader: LogReader, index: RecordIndex, known: Known, text: str, *, now: int) -> Erasable:
    """The record that `text` (an id) names, with what it says; `Refused` when it may not go, or not yet."""
    found = find_record(index, text)
    tombstones.require_erasable(found.kind)
    one = _read_one(reader, index.by_record(found.record, found.kind))
    _require_unneeded(one.leaf, index, known, now=now)
    return one


def erasable_record(reader: LogReader, index: RecordIndex, digest: str) -> Record | None:
    """The record with this digest, of a kind whose text may go; `None` when the log has none, or it cannot be had now."""
    try:
        named = [one for one in index.by_record(digest) if one.kind in tombstones.ERASABLE]
        found = _read_one(reader, named).record if named else None
    except KeyturnError:
        return None
    return found if found is not None and found.digest == digest else None


def sign_tombstone(
    found: Erasable, hand: Hand, trust: TrustState, view: GateView, *, ground: Ground, case: str | None
) -> Logged:
    """Sign and log that the text of `found` shall go, as one of the humans that it takes; refused when it would not count."""
    now = hand.clock.now()
    hand.require_unsuspended(view, now=now)
    _require_apart(found.record, hand.member, trust)
    made = Tombstone(
        **hand.opening(trust, now=now),
        record=found.record.digest,
        ground=ground,
        case=case,
    )
    return hand.logs(made, about(found.record.digest, name=found.id))


def asked_for(
    reader: LogReader, index: RecordIndex, whole: VerifiedLog, known: Known, trust: TrustState, *, now: int
) -> Iterator[Asked]:
    """What the tombstones of `whole` ask for, and what became of it; in the order of digests."""
    gone = {fault.index for fault in whole.faults if fault.what == "erased"}
    for digest, erasure in sorted(whole.erasures.items()):
        for found in index.by_record(digest):
            if found.index >= whole.size or found.kind not in tombstones.ERASABLE:
                continue
            asked = Asked(
                records.record_id(found.kind, digest), found.index, erasure.signers, erasure.index, state="waiting"
            )
            if erasure.index is None:
                yield asked
            elif found.index in gone:
                yield _with(asked, "erased")
            else:
                try:
                    _require_due(_read(reader, found), erasure.signers, index, known, trust, now=now)
                except KeyturnError as err:
                    yield _with(asked, "kept", err.message)
                else:
                    yield _with(asked, "due")


def erase(due: list[Asked], reader: LogReader, keeper: LogEraser) -> int:
    """Have `keeper` erase what is `due`, and give how many envelopes went; `Unavailable` when one of them can still be read."""
    digests = tuple(Sha256(_leaf_at(reader, one.index).envelope) for one in due)
    count = keeper.erase(digests)
    for one, digest in zip(due, digests, strict=True):
        try:
            reader.envelope(digest)
        except Unavailable:
            continue
        raise Unavailable("not-erased", f"the text of {one.id} can still be read", hint="keyturn log verify")
    return count


def _require_due(
    one: Erasable, signers: tuple[str, ...], index: RecordIndex, known: Known, trust: TrustState, *, now: int
) -> None:
    _require_unneeded(one.leaf, index, known, now=now)
    apart = set(signers) - tombstones.concerned(one.record, trust.roster)
    suspended = known.suspended(now=now)
    counted = {member for member in apart if not _tags_of(member, trust) & suspended}
    if len(counted) < trust.limits.tombstone_signers:
        raise Refused(
            "tombstone-signers",
            f"expected tombstones by {trust.limits.tombstone_signers} humans whom {one.id} does not concern and who are not "
            f"suspended, got {', '.join(sorted(counted)) or 'none'}",
            hint=f"another human signs it: keyturn tombstone sign {one.id}",
        )


def _tags_of(member: str, trust: TrustState) -> set[str]:
    """What a suspension of `member`, or of any of his keys, is about: which of them signed is not asked any more."""
    listed = trust.roster.members.get(member)
    return {f"member:{member}"} | {f"key:{held.key.keyid}" for held in (listed.keys if listed is not None else ())}


def _require_unneeded(leaf: Leaf, index: RecordIndex, known: Known, *, now: int) -> None:
    behind = leaf.tagged("suspension" if leaf.kind == "lft" else "request")
    ends = max((found.until or 0 for found in index.by_record(behind)), default=0) if behind else 0
    tombstones.require_over(leaf, behind=ends, now=now)
    for use in known.unreviewed.values():
        if use.request in (leaf.record, behind):
            raise Refused(
                "tombstone-unreviewed",
                f"the use by break-glass brk-{use.digest[:32]} awaits a review, which needs what was asked for",
                hint=f"keyturn grant review brk-{use.digest[:32]}",
            )


def _require_apart(record: Record, member: str, trust: TrustState) -> None:
    if member in tombstones.concerned(record, trust.roster):
        raise Refused(
            "tombstone-own",
            f"{record.id} concerns `{member}`, and nobody removes his own traces",
            hint=f"ask {trust.limits.tombstone_signers} other humans, and give them the id",
        )


def _read_one(reader: LogReader, named: Sequence[IndexedRecord]) -> Erasable:
    """The first of the entries that name a record which is that record: others may name it that nobody can read."""
    failed: KeyturnError | None = None
    for found in named:
        try:
            return _read(reader, found)
        except (Malformed, Tampered, Unavailable) as err:
            failed = failed or err
    assert failed is not None  # the index has one at least
    raise failed


def _read(reader: LogReader, found: IndexedRecord) -> Erasable:
    leaf = _leaf_at(reader, found.index)
    held_against(found, leaf)
    raw = reader.envelope(Sha256(leaf.envelope))
    record = records.parse(raw)
    if records.leaf_of_record(record, raw) != leaf:
        raise Malformed("leaf-not-of-record", f"entry {found.index} is not the leaf of its record")
    return Erasable(record.id, found.index, leaf, record)


def _leaf_at(reader: LogReader, index: int) -> Leaf:
    (raw,) = reader.leaves(index, index + 1)
    return leaf_format.parse(raw)


def _with(asked: Asked, state: Literal["due", "erased", "kept"], why: str = "") -> Asked:
    return Asked(asked.id, asked.index, asked.signers, asked.tombstone, state, why)
