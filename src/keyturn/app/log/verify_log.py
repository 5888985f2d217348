"""Verify the whole log: every leaf, every envelope, and the tree that they make.

(1) The newest checkpoint is witnessed. (2) All leaves under it make its tree. (3) Each envelope is there, and its leaf, computed
again, is the one in the tree; where that is not so, it is a fault. A fault that matters is refused, unless the lab declared the
entry void: whoever had the log for a moment leaves such entries behind, and they outlive its recovery.

Trust versions and signatures are `trust.history`'s and each verifier's business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from keyturn.errors import Malformed, Refused, Tampered, Unavailable
from keyturn.formats import leaf as leaf_format
from keyturn.formats.digest import Sha256
from keyturn.formats.leaf import Leaf
from keyturn.formats.records import leaf_of, record_id
from keyturn.grants.known import Erasure
from keyturn.grants.tombstones import ERASABLE, require_counts
from keyturn.ports import Clock, LogReader
from keyturn.tlog.frontier import Frontier
from keyturn.tlog.verify_checkpoint import verify_checkpoint
from keyturn.trust.history import TrustHistory
from keyturn.trust.roster import TrustState
from keyturn.trust.void import NOTHING_VOID, VoidEntries

__all__ = ["Fault", "VerifiedLog", "read_log", "refuse_faults"]

_LEAVES = 1024
_OF_NO_CONSEQUENCE = frozenset({"chk", "rel", "vsa"})
"""Kinds that no reader of the log looks for."""


@dataclass(frozen=True, slots=True)
class Fault:
    """An entry that nobody can read: its envelope is missing, its leaf is not that of its envelope (`forged`), or it is no leaf.

    `closes`: some reader of the log stays closed for it, for whatever it is `about`. `lost`: a trust version that is missing,
    and that whoever looks has himself (`app.trust.void_hidden`). `erased`: people said that its text shall go
    (`grants.tombstones`), the last of them at entry `tombstone`; what it took away stays taken.
    """

    index: int
    id: str
    about: tuple[str, ...]
    what: Literal["missing", "lost", "forged", "no leaf", "erased"]
    closes: bool
    void: bool = False
    tombstone: int | None = None

    @property
    def stands(self) -> bool:
        """Whether it is more than an envelope that nobody looks for, not void, and not erased by people."""
        return not self.void and self.what != "erased" and (self.closes or self.what != "missing")


@dataclass(frozen=True, slots=True)
class VerifiedLog:
    """A log whose leaves make the tree that its witnesses cosigned. `faults` stand in it all the same, in order.

    `erasures` are what its tombstones say, by the digest of the record that each is of.
    """

    origin: str
    size: int
    root: str
    cosigned_at: int
    cosigners: tuple[str, ...]
    faults: tuple[Fault, ...]
    erasures: Mapping[str, Erasure]


def read_log(reader: LogReader, *, history: TrustHistory, clock: Clock, progress: Callable[[int], None]) -> VerifiedLog:
    """Read all of it, with whatever is wrong in it; raises `Tampered` when it is not the log that was cosigned.

    What is void is counted as every reader counts it: by the place at which a version of `history` stands in the log.
    """
    trust = history.newest
    skew_s = trust.limits.clock_skew_max_s
    witnessed = verify_checkpoint(reader.checkpoint(), trust.log, now=clock.now(), skew_s=skew_s)  # (1)
    body = witnessed.checkpoint
    numbers = {link.digest: link.version for link in history.links if link.role == "targets"}
    frontier, found, void, newest = Frontier.empty(), list[tuple[Fault, Leaf | None]](), NOTHING_VOID, 0
    erasures: dict[str, Erasure] = {}
    for start in range(0, body.size, _LEAVES):
        raws = reader.leaves(start, min(start + _LEAVES, body.size))
        frontier = frontier.extend(raws)
        for index, raw in enumerate(raws, start):
            leaf, fault = _read(reader, index, raw)
            if fault is not None:
                found.append((fault, leaf))
            elif leaf is not None and leaf.kind == "tgt" and (number := numbers.get(Sha256(leaf.record), 0)) > newest:
                newest, void = number, void.after(history.states[number - 1].void, at=index)
            elif leaf is not None and leaf.kind == "tmb" and newest:
                _count(erasures, reader, index, leaf, history.states[newest - 1])
        progress(len(raws))
    if frontier.root != body.root:  # (2)
        raise Tampered("log-tree", f"the {body.size} leaves do not make the tree that the witnesses cosigned")
    return VerifiedLog(
        origin=body.origin,
        size=body.size,
        root=body.root.hex(),
        cosigned_at=witnessed.cosigned_at,
        cosigners=tuple(sorted(witnessed.cosigners)),
        faults=_judged(found, erasures, void, reader, body.size),
        erasures=erasures,
    )


def refuse_faults(found: VerifiedLog) -> None:
    """Raise `Tampered` for an entry of no record, `Unavailable` for one that cannot be read and closes, unless it is void."""
    for fault in found.faults:
        if fault.stands and fault.what == "missing":
            raise Unavailable(
                "log-envelope-missing",
                f"entry {fault.index}: the envelope of {fault.id} cannot be read, and what it concerns stays closed",
                hint="restore it from a backup; if nobody has it: keyturn trust void",
            )
        if fault.stands:
            raise Tampered(
                "log-leaf",
                f"entry {fault.index}: no record has this leaf ({fault.id})",
                hint="the log was in somebody else's hands; once it is not: keyturn trust void",
            )


def _count(erasures: dict[str, Erasure], reader: LogReader, index: int, leaf: Leaf, trust: TrustState) -> None:
    try:
        made = require_counts(leaf, reader.envelope(Sha256(leaf.envelope)), trust)
    except (Refused, Tampered):
        return  # it is in the log, and says nothing
    erasures[made.record] = erasures.get(made.record, Erasure()).signed(made.member, at=index, trust=trust)


def _judged(
    found: list[tuple[Fault, Leaf | None]],
    erasures: Mapping[str, Erasure],
    void: VoidEntries,
    reader: LogReader,
    size: int,
) -> tuple[Fault, ...]:
    """The faults, those marked that are void, and those that people erased: never what came after their tombstones, nor what
    only names their record, and says else than its leaf. That is a lie, and void when people say so."""
    erased: dict[int, tuple[Leaf, int]] = {}
    for fault, leaf in found:
        erasure = erasures.get(leaf.record) if leaf is not None else None
        if leaf is None or erasure is None or erasure.index is None or fault.what != "missing":
            continue
        if leaf.kind in ERASABLE and fault.index < erasure.index:
            erased[fault.index] = (leaf, erasure.index)
    left = _still_read(reader, size, {leaf.record for leaf, _ in erased.values()})
    gone = {at: by for at, (leaf, by) in erased.items() if left.get(leaf.record, _said(leaf)) == _said(leaf)}
    return tuple(
        replace(
            fault,
            void=fault.index in void,
            what="erased" if fault.index in gone else fault.what,
            tombstone=gone.get(fault.index),
        )
        for fault, _ in found
    )


def _still_read(reader: LogReader, size: int, wanted: set[str]) -> Mapping[str, tuple[object, ...]]:
    """What the leaves of those of the records `wanted` say that can be read: their keeper has not erased them yet."""
    said: dict[str, tuple[object, ...]] = {}
    for start in range(0, size if wanted else 0, _LEAVES):
        for index, raw in enumerate(reader.leaves(start, min(start + _LEAVES, size)), start):
            if any(record.encode() in raw for record in wanted):
                leaf, fault = _read(reader, index, raw)
                if leaf is not None and fault is None and leaf.record in wanted:
                    said[leaf.record] = _said(leaf)
    return said


def _said(leaf: Leaf) -> tuple[object, ...]:
    return leaf.kind, leaf.about, leaf.until


def _read(reader: LogReader, index: int, raw: bytes) -> tuple[Leaf | None, Fault | None]:  # (3)
    try:
        leaf = leaf_format.parse(raw)
    except Malformed:
        return None, Fault(index, "no leaf", (), "no leaf", closes=False)
    what: Literal["missing", "forged"] = "forged"
    try:
        if leaf_of(reader.envelope(Sha256(leaf.envelope))) == leaf:
            return leaf, None
    except Unavailable as err:
        if err.code == "index-behind":
            raise  # whoever took its entries for missing would have people give them up
        what = "missing"
    except Malformed:
        pass  # the envelope is no record
    closes = leaf.kind not in _OF_NO_CONSEQUENCE
    return leaf, Fault(index, record_id(leaf.kind, leaf.record), leaf.about, what, closes=closes)
