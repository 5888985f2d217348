"""Make and verify offline proofs that a record's leaf is in the witnessed log.

Follows C2SP tlog-proof, "Verifying a tlog proof". The leaf is computed by the caller from the record it holds
(`formats.records.leaf_of`); the proof's own `extra` is never believed.
"""

from __future__ import annotations

from keyturn.errors import Malformed
from keyturn.formats.tlog_proof import TlogProof
from keyturn.tlog import merkle
from keyturn.tlog.verify_checkpoint import WitnessedCheckpoint, verify_checkpoint
from keyturn.trust.roster import Log

__all__ = ["make_proof", "verify_proof"]


def make_proof(
    index: int, checkpoint: WitnessedCheckpoint, read: merkle.HashReader, *, leaf: bytes | None
) -> TlogProof:
    """Prove leaf `index` under `checkpoint`, with the `leaf` itself as extra data unless None."""
    hashes = merkle.inclusion_proof(index, checkpoint.checkpoint.size, read)
    return TlogProof(index, hashes, checkpoint.note, leaf)


def verify_proof(proof: TlogProof, leaf: bytes, log: Log, *, now: int | None, skew_s: int) -> WitnessedCheckpoint:
    """Check that `leaf` is in the log that `log` names, under a checkpoint that its witnesses cosigned.

    Raises `Refused` for a checkpoint that is not believed, `Tampered` for a leaf that is not under it, `Malformed` for
    shapes that no log makes.
    """
    witnessed = verify_checkpoint(proof.note, log, now=now, skew_s=skew_s)
    size = witnessed.checkpoint.size
    if proof.index >= size:
        raise Malformed("tlog-proof-index", f"tlog proof: no leaf {proof.index} in a log of {size} leaves")
    merkle.verify_inclusion(
        merkle.leaf_hash(leaf), index=proof.index, size=size, proof=proof.hashes, root=witnessed.checkpoint.root
    )
    return witnessed
