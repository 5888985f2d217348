"""Publish the log: sign what is durable, have the witnesses cosign it, and let readers have it.

(1) Tiles are derived up to what is durable. (2) The log signs that tree, and keeps the signed note before anybody sees it.
(3) Each witness gets the proof from the size that it has. (4) Cosignatures are verified one by one. (5) With a quorum, the
note replaces the published one. An idle log does the same again: its tree stays, its cosignatures are fresh.

When targets changed the witnesses or the log's key, gates that follow ask for the old quorum and the new. So the log also signs
with its earlier keys, and collects the cosignatures of the `earlier` witnesses: as many as come at once (`Witnesses`), since
nothing that is published may wait for a witness that has retired (docs/decisions/0021-changing-witnesses.md).

`confirm_with_witnesses` comes before the first append of a process: it asks the witnesses whether the log is behind them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from keyturn.crypto.keys import PublicKey
from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import Conflict, KeyturnError, Malformed, Refused, Tampered, Unavailable
from keyturn.formats import checkpoint as checkpoints
from keyturn.formats import cosignature as cosignatures
from keyturn.formats import note as notes
from keyturn.formats.add_checkpoint import AddCheckpoint
from keyturn.formats.checkpoint import Checkpoint
from keyturn.formats.note import Note, NoteSignature
from keyturn.ports import Confirming, Cosigner, LogKeeper, Witnesses
from keyturn.tlog import merkle
from keyturn.tlog.signing import sign_checkpoint
from keyturn.tlog.verify_checkpoint import WitnessedCheckpoint, verify_checkpoint, verify_log_signature
from keyturn.trust.roster import Log, Witness

__all__ = ["confirm_with_witnesses", "publish_checkpoint"]

Cosignatures = dict[tuple[str, bytes], NoteSignature]
"""Verified cosignatures, by name and key id."""


def confirm_with_witnesses(
    keeper: Confirming, *, log: Log, witnesses: Witnesses, earlier: Sequence[Log] = ()
) -> tuple[WitnessedCheckpoint, ...]:
    """Ask the witnesses for the newest tree they know, let the log compare itself with each, and give them.

    A quorum must answer: any quorum before it shares an honest witness with it. When no more of them know a tree than may lie,
    nothing was published under `log`, and a quorum of the newest of the `earlier` definitions must answer as well, and so on.
    `Unavailable` when too few do; what `LogKeeper.confirm` raises when the log is behind or another tree.
    """
    definitions = (log, *reversed(earlier))
    known: list[WitnessedCheckpoint] = []
    for defined in definitions:
        seen = _newest_trees(defined, witnesses, definitions)
        for one in seen:
            keeper.confirm(one.checkpoint.size, one.checkpoint.root)
        known += seen
        if len(seen) > defined.lying_max:
            return tuple(known)
    keeper.confirm(0, merkle.EMPTY_ROOT)
    return tuple(known)


def _newest_trees(log: Log, witnesses: Witnesses, definitions: Iterable[Log]) -> list[WitnessedCheckpoint]:
    """The newest trees that the witnesses of `log` know."""
    by_name = {witness.name: witness for witness in log.witnesses}
    asked = witnesses.ask(
        by_name, (), lambda name, witness: _newest(by_name[name], witness, log, definitions), enough=log.quorum
    )
    answers = [answer for answer in asked.values() if not isinstance(answer, KeyturnError)]
    if len(answers) < log.quorum:
        raise Unavailable(
            "witness-quorum",
            f"expected {log.quorum} of {len(log.witnesses)} witnesses to say what they have seen, {len(answers)} did",
            hint="start the witnesses: keyturn up",
            detail="; ".join(f"{name}: {answer}" for name, answer in asked.items()),
        )
    return [answer for answer in answers if answer is not None]


def publish_checkpoint(
    keeper: LogKeeper,
    *,
    keys: Sequence[SoftwareKey],
    log: Log,
    earlier: Sequence[Log],
    witnesses: Witnesses,
    now: int,
    skew_s: int,
) -> WitnessedCheckpoint | None:
    """Publish the tree that is durable now; `None` for an empty log.

    `log` is what the newest targets say, and must be satisfied; `earlier` are definitions that gates may still be moving from.
    Raises `Unavailable` `log-key-missing` when the key of `log` is not among `keys`, `Refused` `checkpoint-quorum` when too few
    witnesses cosign, and then the published note stays; `Conflict` when another process published meanwhile; whatever
    `LogKeeper.confirm` raises when a witness has seen more than the log has.
    """
    # Before the tree: what another process publishes meanwhile makes this a conflict, and never a step back.
    signed, published = keeper.note("signed"), keeper.note("checkpoint")
    frontier = keeper.settle()  # (1)
    if frontier.size == 0:
        return None
    definitions = (log, *reversed(earlier))
    note = _sign(Checkpoint(log.origin, frontier.size, frontier.root), keys, definitions)
    body = verify_log_signature(note, origin=log.origin, key=log.key)  # the key at hand is the one that targets name
    if signed != notes.render(note):  # (2)
        keeper.swap("signed", signed, notes.render(note))
    before = _body(published)
    start = 0 if before is None else before.size
    asked = [witness.name for witness in log.witnesses]
    by_name = {witness.name: witness for witness in reversed(_witnesses(definitions))}  # the newest of each name
    retired = [witness.name for witness in _witnesses(earlier) if witness.name not in asked]
    made = witnesses.ask(  # (3)
        asked,
        retired,
        lambda name, witness: _cosign(
            keeper, witness, note, body, start, newest=lambda: _newest(by_name[name], witness, log, definitions)
        ),
        enough=log.quorum,
    )
    found = {**_kept(published, note, definitions), **_verified(made, note, definitions)}  # (4)
    refused = next((answer for name in asked if isinstance(answer := made[name], Tampered)), None)
    if sum(_identity(witness) in found for witness in log.witnesses) < log.quorum and refused is not None:
        raise refused
    full = notes.render(_with(note, found, definitions))
    try:
        witnessed = verify_checkpoint(full, log, now=now, skew_s=skew_s)  # (5)
    except Refused as err:
        if _overtaken(made.values()) and keeper.note("signed") != notes.render(note):
            raise Conflict("checkpoint-changed", "another process of this log published more meanwhile") from err
        raise
    if full != published:
        keeper.swap("checkpoint", published, full)
    return witnessed


def _overtaken(answers: Iterable[object]) -> bool:
    """Whether a witness went on with a larger tree, and so no longer cosigns what came before it, or was going on while asked."""
    codes = {answer.code for answer in answers if isinstance(answer, Unavailable)}
    return not codes.isdisjoint({"witness-ahead", "witness-moves"})


def _sign(checkpoint: Checkpoint, keys: Sequence[SoftwareKey], definitions: Sequence[Log]) -> Note:
    at_hand = {key.public: key for key in keys}
    if definitions[0].key not in at_hand:
        raise Unavailable(
            "log-key-missing",
            f"targets name the log key `{definitions[0].key.keyid[:16]}`, and it is not among this log's keys",
            hint="the log's keys are lab/keys/log and lab/keys/log-*; keyturn log new-key",
        )
    wanted = dict.fromkeys(log.key for log in definitions)
    notes_made = [sign_checkpoint(checkpoint, at_hand[key]) for key in wanted if key in at_hand]
    return notes_made[0].with_signatures(*(signature for made in notes_made[1:] for signature in made.signatures))


def _with(note: Note, found: Cosignatures, definitions: Sequence[Log]) -> Note:
    """The note with its cosignatures, the newest definition's first: when there is no room, earlier ones go without."""
    order = dict.fromkeys(_identity(witness) for witness in _witnesses(definitions))
    kept = [found[identity] for identity in order if identity in found]
    return note.with_signatures(*kept[: notes.SIGNATURES_MAX - len(note.signatures)]) if kept else note


def _newest(witness: Witness, cosigner: Cosigner, log: Log, definitions: Iterable[Log]) -> WitnessedCheckpoint | None:
    raw = cosigner.newest(log.origin)
    if raw is None:
        return None
    seen = notes.parse(raw)
    # Signed by the key that the log had when this witness cosigned, which may be another than now.
    keys = {notes.key_id(log.origin, notes.ED25519, old.key.raw_ed25519): old.key for old in definitions}
    key = next((keys[made.key_id] for made in seen.signatures if made.key_id in keys), log.key)
    return verify_checkpoint(raw, _only(log, witness, key), now=None, skew_s=0)


def _cosign(
    keeper: LogKeeper,
    cosigner: Cosigner,
    note: Note,
    body: Checkpoint,
    start: int,
    *,
    newest: Callable[[], WitnessedCheckpoint | None],
) -> tuple[NoteSignature, ...]:
    """Have one witness cosign `note`. `newest` is what it has seen, signed by the log itself: its word alone stops no log."""
    size = start
    # A witness says which size it has; it may move once more under a log that several processes keep.
    for _ in range(3):
        if size > body.size:
            seen = newest()
            if seen is not None:
                keeper.confirm(seen.checkpoint.size, seen.checkpoint.root)
            raise Unavailable("witness-ahead", f"the witness has seen {size} entries, the log has {body.size}")
        proof = merkle.consistency_proof(size, body.size, keeper.hashes)
        answer = cosigner.add_checkpoint(AddCheckpoint(size, proof, note))
        if not isinstance(answer, int):
            return answer
        size = answer
    raise Unavailable("witness-moves", "the witness names another size each time")


def _verified(
    made: Mapping[str, tuple[NoteSignature, ...] | KeyturnError], note: Note, definitions: Sequence[Log]
) -> Cosignatures:
    found: Cosignatures = {}
    for witness in _witnesses(definitions):
        answer = made[witness.name]
        if isinstance(answer, KeyturnError):
            continue
        for signature in answer:
            if (signature.name, signature.key_id) == _identity(witness) and _holds(
                note, signature, definitions, witness
            ):
                found[_identity(witness)] = signature
    return found


def _kept(published: bytes | None, note: Note, definitions: Sequence[Log]) -> Cosignatures:
    """Cosignatures that the published note has for this very tree: a witness that is away for a moment still counts."""
    if published is None:
        return {}
    old = notes.parse(published)
    if old.text != note.text:
        return {}
    return _verified({w.name: old.signatures for w in _witnesses(definitions)}, note, definitions)


def _holds(note: Note, signature: NoteSignature, definitions: Sequence[Log], witness: Witness) -> bool:
    # One bad cosignature would condemn the whole note, so each is tried alone.
    log = definitions[0]
    try:
        cosignatures.parse(signature.signature)
        alone = Note(note.text, (*note.signatures, signature))
        verify_checkpoint(notes.render(alone), _only(log, witness, log.key), now=None, skew_s=0)
    except (Refused, Malformed):
        return False
    return True


def _witnesses(definitions: Iterable[Log]) -> tuple[Witness, ...]:
    """Every witness of `definitions`, each once; one that has a new key is another."""
    return tuple({_identity(witness): witness for log in definitions for witness in log.witnesses}.values())


def _identity(witness: Witness) -> tuple[str, bytes]:
    return witness.name, notes.key_id(witness.name, notes.COSIGNATURE_V1, witness.key.raw_ed25519)


def _only(log: Log, witness: Witness, key: PublicKey) -> Log:
    return Log(origin=log.origin, key=key, witnesses=(witness,), lying_max=0)


def _body(note: bytes | None) -> Checkpoint | None:
    return None if note is None else checkpoints.parse_body(notes.parse(note).text)
