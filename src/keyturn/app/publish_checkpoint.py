"""Publish the log: sign what is durable, have the witnesses cosign it, and let readers have it.

(1) Tiles are derived up to what is durable. (2) The log signs that tree, and keeps the signed note before anybody sees it.
(3) Each witness gets the proof from the size that it has. (4) Cosignatures are verified one by one. (5) With a quorum, the
note replaces the published one. An idle log does the same again: its tree stays, its cosignatures are fresh.

`confirm_standing` comes before the first append of a process: it asks the witnesses whether the log is behind them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import KeyturnError, Malformed, Refused, Tampered, Unavailable
from keyturn.formats import checkpoint as checkpoints
from keyturn.formats import cosignature as cosignatures
from keyturn.formats import note as notes
from keyturn.formats.add_checkpoint import AddCheckpoint
from keyturn.formats.checkpoint import Checkpoint
from keyturn.formats.note import Note, NoteSignature
from keyturn.ports import Cosigner, LogKeeper
from keyturn.tlog import merkle
from keyturn.tlog.signing import sign_checkpoint
from keyturn.tlog.verify_checkpoint import WitnessedCheckpoint, verify_checkpoint, verify_log_signature
from keyturn.trust.roster import Log, Witness

__all__ = ["confirm_standing", "publish_checkpoint"]

T = TypeVar("T")


def confirm_standing(keeper: LogKeeper, *, log: Log, cosigners: Mapping[str, Cosigner]) -> None:
    """Ask the witnesses for the newest tree they know, and let the log compare itself with it.

    A quorum must answer: any earlier quorum shares an honest witness with it. `Unavailable` when it does not; what
    `LogKeeper.confirm` raises when the log is behind or another tree.
    """
    asked = _ask_all(log, cosigners, lambda witness, cosigner: _newest(witness, cosigner, log))
    answers = [answer for answer in asked.values() if not isinstance(answer, KeyturnError)]
    if len(answers) < log.quorum:
        raise Unavailable(
            "witness-quorum",
            f"expected {log.quorum} of {len(log.witnesses)} witnesses to say what they have seen, {len(answers)} did",
            hint="start the witnesses: keyturn up",
            detail="; ".join(f"{name}: {answer}" for name, answer in asked.items()),
        )
    seen = [answer for answer in answers if answer is not None]
    for body in seen:
        keeper.confirm(body.size, body.root)
    if not seen:
        keeper.confirm(0, merkle.EMPTY_ROOT)


def publish_checkpoint(
    keeper: LogKeeper, *, key: SoftwareKey, log: Log, cosigners: Mapping[str, Cosigner], now: int, skew_s: int
) -> WitnessedCheckpoint | None:
    """Publish the tree that is durable now; `None` for an empty log.

    Raises `Refused` `checkpoint-quorum` when too few witnesses cosign, and then the published note stays; whatever
    `LogKeeper.confirm` raises when a witness has seen more than the log has.
    """
    frontier = keeper.settle()  # (1)
    if frontier.size == 0:
        return None
    note = sign_checkpoint(Checkpoint(log.origin, frontier.size, frontier.root), key)
    body = verify_log_signature(note, origin=log.origin, key=log.key)  # the key at hand is the one that targets name
    signed = keeper.note("signed")
    if signed != notes.render(note):  # (2)
        keeper.swap("signed", signed, notes.render(note))
    published = keeper.note("checkpoint")
    before = _body(published)
    start = 0 if before is None else before.size
    made = _ask_all(log, cosigners, lambda witness, cosigner: _cosign(keeper, cosigner, note, body, start))  # (3)
    found = {**_kept(published, note, log), **_verified(made, note, log)}  # (4)
    refused = next((answer for answer in made.values() if isinstance(answer, Tampered)), None)
    if len(found) < log.quorum and refused is not None:
        raise refused
    full = notes.render(note.with_signatures(*(found[name] for name in sorted(found)))) if found else notes.render(note)
    witnessed = verify_checkpoint(full, log, now=now, skew_s=skew_s)  # (5)
    if full != published:
        keeper.swap("checkpoint", published, full)
    return witnessed


def _ask_all(
    log: Log, cosigners: Mapping[str, Cosigner], ask: Callable[[Witness, Cosigner], T]
) -> dict[str, T | KeyturnError]:
    def answer(witness: Witness) -> T | KeyturnError:
        cosigner = cosigners.get(witness.name)
        if cosigner is None:
            return Unavailable("witness-address", f"no address of the witness `{witness.name}`", hint="keyturn.toml")
        try:
            return ask(witness, cosigner)
        except KeyturnError as err:
            return err

    with ThreadPoolExecutor(max_workers=len(log.witnesses)) as pool:
        return dict(zip((w.name for w in log.witnesses), pool.map(answer, log.witnesses), strict=True))


def _newest(witness: Witness, cosigner: Cosigner, log: Log) -> Checkpoint | None:
    raw = cosigner.newest(log.origin)
    if raw is None:
        return None
    return verify_checkpoint(raw, _only(log, witness), now=None, skew_s=0).checkpoint


def _cosign(
    keeper: LogKeeper, cosigner: Cosigner, note: Note, body: Checkpoint, start: int
) -> tuple[NoteSignature, ...]:
    size = start
    for _ in range(
        3
    ):  # a witness says which size it has; it may move once more under a log that several processes keep
        if size > body.size:
            newest = cosigner.newest(body.origin)
            seen = None if newest is None else _body(newest)
            if seen is not None:
                keeper.confirm(seen.size, seen.root)
            raise Unavailable("witness-ahead", f"the witness has seen {size} entries, the log has {body.size}")
        proof = merkle.consistency_proof(size, body.size, keeper.hashes)
        answer = cosigner.add_checkpoint(AddCheckpoint(size, proof, note))
        if not isinstance(answer, int):
            return answer
        size = answer
    raise Unavailable("witness-moves", "the witness names another size each time")


def _verified(
    made: Mapping[str, tuple[NoteSignature, ...] | KeyturnError], note: Note, log: Log
) -> dict[str, NoteSignature]:
    found = {}
    for witness in log.witnesses:
        answer = made[witness.name]
        if isinstance(answer, KeyturnError):
            continue
        identifier = notes.key_id(witness.name, notes.COSIGNATURE_V1, witness.key.raw_ed25519)
        for signature in answer:
            if (
                signature.name == witness.name
                and signature.key_id == identifier
                and _holds(note, signature, log, witness)
            ):
                found[witness.name] = signature
    return found


def _kept(published: bytes | None, note: Note, log: Log) -> dict[str, NoteSignature]:
    """Cosignatures that the published note has for this very tree: a witness that is away for a moment still counts."""
    if published is None:
        return {}
    old = notes.parse(published)
    if old.text != note.text:
        return {}
    by_name = {signature.name: (signature,) for signature in old.signatures}
    return _verified({w.name: by_name.get(w.name, ()) for w in log.witnesses}, note, log)


def _holds(note: Note, signature: NoteSignature, log: Log, witness: Witness) -> bool:
    # One bad cosignature would condemn the whole note, so each is tried alone.
    try:
        cosignatures.parse(signature.signature)
        verify_checkpoint(notes.render(note.with_signatures(signature)), _only(log, witness), now=None, skew_s=0)
    except (Refused, Malformed):
        return False
    return True


def _only(log: Log, witness: Witness) -> Log:
    return Log(origin=log.origin, key=log.key, witnesses=(witness,), lying_max=0)


def _body(note: bytes | None) -> Checkpoint | None:
    return None if note is None else checkpoints.parse_body(notes.parse(note).text)
