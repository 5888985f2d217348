"""Make the offline proof (C2SP tlog-proof) that one entry is in the witnessed log."""

from __future__ import annotations

from keyturn.app.records.find_record import held_against
from keyturn.errors import Refused
from keyturn.formats import leaf as leaf_format
from keyturn.formats import tlog_proof
from keyturn.ports import Clock, IndexedRecord, LogReader
from keyturn.tlog.proof import make_proof, verify_proof
from keyturn.tlog.verify_checkpoint import verify_checkpoint
from keyturn.trust.roster import Limits, Log

__all__ = ["prove_entry"]


def prove_entry(
    reader: LogReader, *, index: int, found: IndexedRecord | None, log: Log, limits: Limits, clock: Clock
) -> bytes:
    """Return the proof for entry `index`, verified before it is given out; `Refused` while it is not witnessed.

    `found` is what an index said of the entry, when one was asked: `Tampered` `index-lies` when the log has something else there.
    """
    now = clock.now()
    witnessed = verify_checkpoint(reader.checkpoint(), log, now=now, skew_s=limits.clock_skew_max_s)
    if not 0 <= index < witnessed.checkpoint.size:
        raise Refused(
            "record-not-found",
            f"entry {index} is not under the witnessed checkpoint of {witnessed.checkpoint.size} entries",
            hint="keyturn log show",
        )
    (leaf,) = reader.leaves(index, index + 1)
    if found is not None:
        held_against(found, leaf_format.parse(leaf))
    proof = make_proof(index, witnessed, reader.hashes, leaf=leaf)
    verify_proof(proof, leaf, log, now=now, skew_s=limits.clock_skew_max_s)
    return tlog_proof.render(proof)
