"""Cosign a log's checkpoint, as a witness: C2SP tlog-witness, `add-checkpoint`, without its HTTP.

(1) The origin is one that this witness was set up for, and the log's key signed. (2) `tlog.witness` decides. (3) The new
state, with our cosignature, is durable; only then (4) the cosignature is given out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from keyturn.crypto.keys import PublicKey
from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import Refused
from keyturn.formats import add_checkpoint
from keyturn.formats import checkpoint as checkpoints
from keyturn.formats import note as notes
from keyturn.formats.note import Note, NoteSignature
from keyturn.ports import Clock, CosignStore
from keyturn.tlog.signing import cosign
from keyturn.tlog.verify_checkpoint import verify_log_signature
from keyturn.tlog.witness import Refusal, WitnessState, cosign_decision

__all__ = ["Witnessing", "cosign_checkpoint"]


@dataclass(frozen=True, slots=True)
class Witnessing:
    """A witness: its C2SP name, its key, and the key of each log that it watches, by origin."""

    name: str
    key: SoftwareKey
    logs: Mapping[str, PublicKey]


def cosign_checkpoint(witness: Witnessing, raw: bytes, *, store: CosignStore, clock: Clock) -> NoteSignature | Refusal:
    """Answer one `add-checkpoint` body; the caller serialises calls for one witness.

    Raises `Malformed` for a body that is none, `Refused` `witness-log-unknown` or `witness-log-signature`.
    """
    request = add_checkpoint.parse(raw)
    origin = checkpoints.parse_body(request.note.text).origin  # (1)
    key = witness.logs.get(origin)
    if key is None:
        raise Refused("witness-log-unknown", f"this witness does not watch the log `{origin[:120]}`")
    try:
        checkpoint = verify_log_signature(request.note, origin=origin, key=key)
    except Refused as err:
        if err.code == "checkpoint-empty-root":
            return Refusal("empty-root", err.message, 0, evidence=False)
        raise Refused("witness-log-signature", err.message) from err
    old = store.read(origin)
    decision = cosign_decision(_state(old), request.old_size, request.proof, checkpoint)  # (2)
    if isinstance(decision, Refusal):
        if decision.evidence:
            store.keep_evidence(origin, raw)
        return decision
    signature = cosign(checkpoint, name=witness.name, key=witness.key, at=clock.now())
    by_log = tuple(s for s in request.note.signatures if s.name == origin)
    store.swap(origin, old, notes.render(Note(request.note.text, (*by_log, signature))))  # (3)
    return signature  # (4)


def _state(note: bytes | None) -> WitnessState:
    if note is None:
        return WitnessState.empty()
    body = checkpoints.parse_body(notes.parse(note).text)
    return WitnessState(body.size, body.root)
