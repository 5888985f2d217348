"""Show the log as its reader can verify it: the witnessed checkpoint, and the last entries under it."""

from __future__ import annotations

from dataclasses import dataclass

from keyturn.formats import leaf as leaf_format
from keyturn.formats import records
from keyturn.formats.leaf import Leaf
from keyturn.ports import Clock, LogReader
from keyturn.tlog import merkle
from keyturn.tlog.verify_checkpoint import verify_checkpoint
from keyturn.trust.roster import Limits, Log

__all__ = ["LogView", "ShownEntry", "show_log"]


@dataclass(frozen=True, slots=True)
class ShownEntry:
    """One entry: its index, record id and leaf. Its leaf was proved to be in the tree; its envelope was not looked at."""

    index: int
    id: str
    leaf: Leaf


@dataclass(frozen=True, slots=True)
class LogView:
    """The witnessed tree and its last entries. `age_s` is how long ago the quorum cosigned."""

    origin: str
    size: int
    root: str
    cosigned_at: int
    age_s: int
    cosigners: tuple[str, ...]
    quorum: int
    entries: tuple[ShownEntry, ...]


def show_log(reader: LogReader, *, log: Log, limits: Limits, clock: Clock, last: int) -> LogView:
    """Verify the checkpoint and prove its last `last` entries; raises what `verify_checkpoint` and proofs raise."""
    now = clock.now()
    witnessed = verify_checkpoint(reader.checkpoint(), log, now=now, skew_s=limits.clock_skew_max_s)
    body = witnessed.checkpoint
    start = max(0, body.size - last)
    entries = []
    for index, raw in enumerate(reader.leaves(start, body.size), start):
        proof = merkle.inclusion_proof(index, body.size, reader.hashes)
        merkle.verify_inclusion(merkle.leaf_hash(raw), index=index, size=body.size, proof=proof, root=body.root)
        leaf = leaf_format.parse(raw)
        entries.append(ShownEntry(index, records.record_id(leaf.kind, leaf.record), leaf))
    return LogView(
        origin=body.origin,
        size=body.size,
        root=body.root.hex(),
        cosigned_at=witnessed.cosigned_at,
        age_s=now - witnessed.cosigned_at,
        cosigners=tuple(sorted(witnessed.cosigners)),
        quorum=log.quorum,
        entries=tuple(entries),
    )
