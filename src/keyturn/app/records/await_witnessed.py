"""Wait until a record is in force: its leaf is proved to be under a checkpoint that the quorum of witnesses cosigned.

The proof is computed here, by whoever signed the record: the service's word that it was accepted is worth nothing.
"""

from __future__ import annotations

from keyturn.errors import KeyturnError, Refused, Unavailable
from keyturn.formats import leaf as leaf_format
from keyturn.formats.leaf import Leaf
from keyturn.ports import Clock, LogReader, Pause
from keyturn.tlog import merkle
from keyturn.tlog.verify_checkpoint import WitnessedCheckpoint, verify_checkpoint
from keyturn.trust.roster import Limits, Log

__all__ = ["await_witnessed"]

_POLL_S = 0.1


def await_witnessed(
    reader: LogReader,
    *,
    index: int,
    leaf: Leaf,
    log: Log,
    limits: Limits,
    clock: Clock,
    pause: Pause,
    deadline_s: float,
) -> WitnessedCheckpoint:
    """Return the witnessed checkpoint that holds `leaf` at `index`, waiting up to `deadline_s`.

    Raises `Unavailable` `not-in-force` when there is none by then, and `Tampered` when the log holds something else there.
    """
    reason: KeyturnError | None = None
    for attempt in range(max(1, int(deadline_s / _POLL_S))):
        if attempt:
            pause(_POLL_S)
        try:
            witnessed = verify_checkpoint(reader.checkpoint(), log, now=clock.now(), skew_s=limits.clock_skew_max_s)
            if witnessed.checkpoint.size > index:
                prove(reader, index=index, leaf=leaf, witnessed=witnessed)
                return witnessed
        except (Unavailable, Refused) as err:  # the witnesses may be slow, or the log restarting
            reason = err
    why = f": {reason.message}" if reason is not None else ""
    raise Unavailable(
        "not-in-force",
        f"NOT IN FORCE: the record is durable at entry {index}, and no quorum of witnesses has cosigned it yet{why}",
        hint=f"keyturn log prove {index}; the record itself need not be signed again",
    )


def prove(reader: LogReader, *, index: int, leaf: Leaf, witnessed: WitnessedCheckpoint) -> tuple[bytes, ...]:
    """Give the inclusion proof of `leaf` at `index` under `witnessed`, verified; `Tampered` when it is not there."""
    body = witnessed.checkpoint
    proof = merkle.inclusion_proof(index, body.size, reader.hashes)
    merkle.verify_inclusion(
        merkle.leaf_hash(leaf_format.render(leaf)), index=index, size=body.size, proof=proof, root=body.root
    )
    return proof
