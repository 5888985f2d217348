"""Verify the whole log: every leaf, every envelope, and the tree that they make.

(1) The newest checkpoint is witnessed. (2) All leaves under it make its tree. (3) Each envelope is there, and its leaf, computed
again, is the one in the tree; an envelope that is missing is named. Trust versions and signatures are `trust.history`'s
and each verifier's business.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from keyturn.errors import KeyturnError, Tampered, Unavailable
from keyturn.formats import leaf as leaf_format
from keyturn.formats.digest import Sha256
from keyturn.formats.leaf import NEGATIVES
from keyturn.formats.records import leaf_of, record_id
from keyturn.ports import Clock, LogReader
from keyturn.tlog.frontier import Frontier
from keyturn.tlog.verify_checkpoint import verify_checkpoint
from keyturn.trust.roster import Limits, Log

__all__ = ["VerifiedLog", "verify_log"]

_LEAVES = 1024


@dataclass(frozen=True, slots=True)
class VerifiedLog:
    """`missing` are records whose envelope is gone (index, id): their leaves stand, their content cannot be read."""

    origin: str
    size: int
    root: str
    cosigned_at: int
    cosigners: tuple[str, ...]
    missing: tuple[tuple[int, str], ...]


def verify_log(
    reader: LogReader, *, log: Log, limits: Limits, clock: Clock, progress: Callable[[int], None]
) -> VerifiedLog:
    """Read and verify all of it; raises `Tampered` with the entry concerned.

    A missing negative is `Unavailable`: whom it concerned cannot be said.
    """
    witnessed = verify_checkpoint(reader.checkpoint(), log, now=clock.now(), skew_s=limits.clock_skew_max_s)  # (1)
    body = witnessed.checkpoint
    frontier, missing = Frontier.empty(), []
    for start in range(0, body.size, _LEAVES):
        raws = reader.leaves(start, min(start + _LEAVES, body.size))
        frontier = frontier.extend(raws)
        for index, raw in enumerate(raws, start):
            if not _check(reader, index, raw):  # (3)
                found = leaf_format.parse(raw)
                missing.append((index, record_id(found.kind, found.record)))
        progress(len(raws))
    if frontier.root != body.root:  # (2)
        raise Tampered("log-tree", f"the {body.size} leaves do not make the tree that the witnesses cosigned")
    return VerifiedLog(
        origin=body.origin,
        size=body.size,
        root=body.root.hex(),
        cosigned_at=witnessed.cosigned_at,
        cosigners=tuple(sorted(witnessed.cosigners)),
        missing=tuple(missing),
    )


def _check(reader: LogReader, index: int, raw: bytes) -> bool:
    try:
        leaf = leaf_format.parse(raw)
    except KeyturnError as err:
        raise Tampered("log-leaf", f"entry {index}: its leaf is none: {err.message}") from err
    try:
        envelope = reader.envelope(Sha256(leaf.envelope))
    except Unavailable as err:
        if leaf.kind in NEGATIVES:
            raise Unavailable(
                "log-negative-missing",
                f"entry {index}: the envelope of a negative ({leaf.kind}) cannot be read: {err.message}",
                hint="whatever it concerned stays closed until the envelope is back",
            ) from err
        return False
    try:
        again = leaf_of(envelope)
    except KeyturnError as err:
        raise Tampered("log-leaf", f"entry {index}: its envelope is no record: {err.message}") from err
    if again != leaf:
        raise Tampered("log-leaf", f"entry {index}: its leaf is not that of its envelope")
    return True
