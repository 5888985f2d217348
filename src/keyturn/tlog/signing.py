"""Sign checkpoints as the log, and cosign them as a witness. The key and the time are arguments.

Follows C2SP signed-note (type 0x01, the key's name is the origin) and tlog-cosignature (type 0x04). This is NOT where it is
decided whether to sign: a log signs only what it made durable, a witness only what `witness.cosign_decision` allows.
"""

from __future__ import annotations

from keyturn.crypto.signers import SoftwareKey
from keyturn.formats import checkpoint as checkpoints
from keyturn.formats import cosignature as cosignatures
from keyturn.formats import note as notes
from keyturn.formats.checkpoint import Checkpoint
from keyturn.formats.cosignature import Cosignature
from keyturn.formats.note import Note, NoteSignature

__all__ = ["cosign", "sign_checkpoint"]


def sign_checkpoint(checkpoint: Checkpoint, key: SoftwareKey) -> Note:
    """Sign `checkpoint` as the log that it names as its origin. The key must be Ed25519."""
    body = checkpoints.render_body(checkpoint)
    identifier = notes.key_id(checkpoint.origin, notes.ED25519, key.public.raw_ed25519)
    return Note(body, (NoteSignature(checkpoint.origin, identifier, key.sign(body)),))


def cosign(checkpoint: Checkpoint, *, name: str, key: SoftwareKey, at: int) -> NoteSignature:
    """Cosign `checkpoint` as the witness `name`, saying that at POSIX time `at` it was the newest that it had seen."""
    identifier = notes.key_id(name, notes.COSIGNATURE_V1, key.public.raw_ed25519)
    made = Cosignature(at, key.sign(cosignatures.message(checkpoints.render_body(checkpoint), at)))
    return NoteSignature(name, identifier, cosignatures.render(made))
