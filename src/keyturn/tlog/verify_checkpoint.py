"""Decide whether a checkpoint is believed: signed by the lab's log, and cosigned by the quorum of its witnesses.

Follows C2SP signed-note, tlog-checkpoint and tlog-cosignature. Keys, witnesses and quorum are the roster's; nothing in
the note chooses them. `WitnessedCheckpoint` is made here and nowhere else, and whatever acts on a checkpoint asks for one.

This is NOT freshness: how old `cosigned_at` may be is the gate's business (`grants.view`).
"""

from __future__ import annotations

from dataclasses import InitVar, dataclass
from typing import NoReturn

from keyturn.crypto.keys import PublicKey
from keyturn.errors import Refused
from keyturn.formats import checkpoint as checkpoints
from keyturn.formats import cosignature as cosignatures
from keyturn.formats import note as notes
from keyturn.formats.checkpoint import Checkpoint
from keyturn.formats.note import Note
from keyturn.tlog import merkle
from keyturn.trust.roster import Log, Witness

__all__ = ["WitnessedCheckpoint", "verify_checkpoint", "verify_log_signature"]

_VERIFIER = object()


@dataclass(frozen=True, slots=True)
class WitnessedCheckpoint:
    """A checkpoint that the quorum of witnesses cosigned. Only `verify_checkpoint` makes one.

    `cosigned_at` is the POSIX time that the quorum vouches for: the quorum-th newest of the cosignatures' times, so that
    the witnesses that may lie cannot make it newer than an honest one said. `note` is what was verified.
    """

    checkpoint: Checkpoint
    cosigned_at: int
    cosigners: frozenset[str]
    note: bytes
    made_by: InitVar[object]

    def __post_init__(self, made_by: object) -> None:
        if made_by is not _VERIFIER:
            raise TypeError("a WitnessedCheckpoint is made by verify_checkpoint only")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a WitnessedCheckpoint is not pickled: keep its note, and verify it again")


def verify_checkpoint(note_bytes: bytes, log: Log, *, now: int | None, skew_s: int) -> WitnessedCheckpoint:
    """Verify a signed checkpoint with its cosignatures, under the log and the witnesses that targets name.

    1. The note is well-formed and signed by the log, under its origin.
    2. Each cosignature of a known witness verifies; those of strangers are ignored.
    3. Different witnesses reach the quorum; one witness counts once, with its newest time.
    4. The time that the quorum vouches for is not ahead of `now` by more than `skew_s` (skipped when `now` is None, which is
       for judging the past).

    Raises `Malformed` for what is no note, `Refused` for what is not believed.
    """
    # (1)
    note = notes.parse(note_bytes)
    checkpoint = verify_log_signature(note, origin=log.origin, key=log.key)
    # (2)
    times = _cosigned_times(note, log.witnesses)
    # (3)
    if len(times) < log.quorum:
        raise Refused(
            "checkpoint-quorum",
            f"checkpoint: expected cosignatures of {log.quorum} of {len(log.witnesses)} witnesses, got {len(times)}",
            hint="wait until more witnesses have cosigned, or find out why they do not",
        )
    cosigned_at = sorted(times.values(), reverse=True)[log.quorum - 1]
    # (4)
    if now is not None and cosigned_at > now + skew_s:
        raise Refused(
            "clock-skew",
            f"checkpoint: cosigned {cosigned_at - now} s ahead of this clock, expected at most {skew_s} s",
            hint="set this machine's clock: the witnesses' clocks agree with each other",
        )
    return WitnessedCheckpoint(checkpoint, cosigned_at, frozenset(times), note_bytes, made_by=_VERIFIER)


def verify_log_signature(note: Note, *, origin: str, key: PublicKey) -> Checkpoint:
    """Check that `note` is a checkpoint of the log `origin`, signed by its `key`; a witness begins with this."""
    checkpoint = checkpoints.parse_body(note.text)
    if checkpoint.origin != origin:
        raise Refused("checkpoint-other-log", f"checkpoint: expected the log `{origin}`, got `{checkpoint.origin}`")
    signatures = _signatures_of(note, origin, notes.ED25519, key)
    if not signatures:
        raise Refused("checkpoint-unsigned", f"checkpoint: expected a signature by the key of `{origin}`, got none")
    for signature in signatures:
        _verify(key, signature, note.text, who=f"the log `{origin}`")
    if checkpoint.size == 0 and checkpoint.root != merkle.EMPTY_ROOT:
        raise Refused("checkpoint-empty-root", "checkpoint: expected the empty tree's root for a log without leaves")
    return checkpoint


def _cosigned_times(note: Note, witnesses: tuple[Witness, ...]) -> dict[str, int]:
    times: dict[str, int] = {}
    for witness in witnesses:
        for raw in _signatures_of(note, witness.name, notes.COSIGNATURE_V1, witness.key):
            made = cosignatures.parse(raw)
            _verify(
                witness.key,
                made.signature,
                cosignatures.message(note.text, made.time),
                who=f"the witness `{witness.name}`",
            )
            times[witness.name] = max(made.time, times.get(witness.name, 0))
    return times


def _signatures_of(note: Note, name: str, signature_type: int, key: PublicKey) -> list[bytes]:
    identifier = notes.key_id(name, signature_type, key.raw_ed25519)
    return [made.signature for made in note.signatures if made.name == name and made.key_id == identifier]


def _verify(key: PublicKey, signature: bytes, message: bytes, *, who: str) -> None:
    # A wrong signature under a known key's name and id condemns the whole note (signed-note, "Signatures").
    try:
        key.verify(signature, message)
    except Refused as err:
        raise Refused("checkpoint-signature", f"checkpoint: the signature of {who} does not verify") from err
