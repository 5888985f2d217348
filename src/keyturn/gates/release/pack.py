"""Collect what an outsider needs to verify a release offline, from the log that the gate verified.

Every record comes with its inclusion proof under the one checkpoint; the leaves after the pack index come whole, so that
whoever has the pack sees for himself that nothing in them counts against the release (`custody.afterwards`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from keyturn.custody.afterwards import carried, says_nothing_more
from keyturn.custody.pack_index import PackIndex
from keyturn.custody.pack_index import render as render_index
from keyturn.errors import Tampered, Unavailable
from keyturn.formats import leaf as leaf_format
from keyturn.formats import pack_members, records
from keyturn.formats.digest import Sha256, sha256
from keyturn.formats.leaf import Leaf
from keyturn.ports import LogReader
from keyturn.tlog import merkle
from keyturn.tlog.frontier import Frontier
from keyturn.tlog.inclusions import Inclusions
from keyturn.tlog.verify_checkpoint import WitnessedCheckpoint

__all__ = ["collect"]


def collect(
    log: LogReader,
    *,
    index: PackIndex,
    frontier: Frontier,
    leaves: Sequence[bytes],
    checkpoint: WitnessedCheckpoint,
    request: Sha256,
) -> dict[str, bytes]:
    """Give the members of the pack, but for the gate's own statements.

    `frontier` is the tree of the first `index.size` leaves and `leaves` those from there up to `checkpoint`; the caller
    has verified both against it.
    """
    raws = {one.index: _envelope(log, Sha256(one.envelope)) for one in index.statements}
    held, lacking = list[Leaf](), list[tuple[Leaf, Unavailable]]()
    for place, one in carried(leaves, request, start=index.size):
        try:
            raw = _envelope(log, Sha256(one.envelope))
            own = records.leaf_of(raw)
        except Unavailable as err:
            lacking.append((one, err))
            continue
        held.append(own)
        if own == one or not says_nothing_more(one, (own,)):
            raws[place] = raw
    for one, missing in lacking:
        if not says_nothing_more(one, held):
            raise missing
    size = checkpoint.checkpoint.size
    members = {
        pack_members.CHECKPOINT: checkpoint.note,
        pack_members.FRONTIER: pack_members.render_frontier(frontier.size, frontier.nodes),
        pack_members.INDEX: render_index(index),
        pack_members.LEAVES: pack_members.render_leaves(leaves),
    }
    proofs: list[bytes] = []
    hashes = lru_cache(maxsize=1024)(log.hashes)  # most of a proof is that of the record before
    tree = Inclusions(size=size, root=checkpoint.checkpoint.root)
    for place, raw in sorted(raws.items()):
        proof = b"".join(merkle.inclusion_proof(place, size, hashes))
        tree.verify(merkle.leaf_hash(leaf_format.render(records.leaf_of(raw))), index=place, proof=proof)
        members[pack_members.record_name(place)] = raw
        proofs.append(proof)
    members[pack_members.PROOFS] = pack_members.render_proofs(proofs)
    return members


def _envelope(log: LogReader, digest: Sha256) -> bytes:
    raw = log.envelope(digest)
    if sha256(raw) != digest:
        raise Tampered("log-envelope-other", f"the log gave another record for `{digest[:16]}`")
    return raw
