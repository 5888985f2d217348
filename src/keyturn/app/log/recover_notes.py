"""Make a log's two notes again that were lost or damaged: what the log signed last, and what readers get.

The packs are the log, and the notes say how much of it must be there. So what is made again comes from who knows that better
than the disk does, and never says less than anybody has seen:

(1) A note that is there counts when a key of the log signed it; anything else is damage.
(2) A quorum of witnesses says what it has seen, as before the first append of any process (`confirm_with_witnesses`); the packs
    must hold all of it, and every note that counts. Otherwise nothing is changed: entries are missing, and those are restored
    first.
(3) `signed` becomes the newest of these, without anybody's cosignature.
(4) `checkpoint` becomes the newest tree that a quorum's cosignatures make one again. When there is none, since the witnesses
    stand at different trees, it is made by whoever publishes next.

What lay in a note's place is put aside. A tree that the log signed, and that neither the other note nor any witness of the quorum
knows, is not known afterwards: docs/decisions/0025-notes-made-again.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from keyturn.app.log.publish_checkpoint import confirm_with_witnesses
from keyturn.errors import Malformed, Refused
from keyturn.formats import checkpoint as checkpoints
from keyturn.formats import note as notes
from keyturn.formats.note import Note
from keyturn.ports import LogNotes, Witnesses
from keyturn.tlog.verify_checkpoint import verify_checkpoint, verify_log_signature
from keyturn.trust.roster import Log

__all__ = ["NoteMade", "RecoveredNotes", "recover_notes"]

Which = Literal["signed", "checkpoint"]
_NOTES: tuple[Which, ...] = ("signed", "checkpoint")


@dataclass(frozen=True, slots=True)
class NoteMade:
    """A note that was gone or damaged: what lay in its place is `aside`; `size` is its new tree's, None when there is none."""

    which: Which
    size: int | None
    aside: str | None


@dataclass(frozen=True, slots=True)
class RecoveredNotes:
    """The entries that the log holds, those that its witnesses have seen, and which notes were made again."""

    size: int
    seen: int
    made: tuple[NoteMade, ...]


def recover_notes(keeper: LogNotes, *, log: Log, witnesses: Witnesses, earlier: Sequence[Log]) -> RecoveredNotes:
    """Make again what is damaged or gone of the notes of `log`; `earlier` are definitions that targets replaced, oldest first.

    Raises `Unavailable` `witness-quorum`, and what `Confirming.confirm` raises for a log that is behind or another tree; then
    nothing was changed.
    """
    definitions = (log, *earlier)
    sound: dict[Which, Note] = {}
    for which in _NOTES:  # (1)
        note = _signed_by_the_log(keeper.sound(which), definitions)
        if note is not None:
            sound[which] = note
    seen = confirm_with_witnesses(keeper, log=log, witnesses=witnesses, earlier=earlier)  # (2)
    for note in sound.values():
        body = checkpoints.parse_body(note.text)
        keeper.confirm(body.size, body.root)
    witnessed = [notes.parse(one.note) for one in seen]
    known = sorted((*sound.values(), *witnessed), key=_size, reverse=True)
    made = []
    for which in _NOTES:
        if which in sound:
            continue
        new = _without_witnesses(known, definitions) if which == "signed" else _cosigned(known, log)  # (3) (4)
        aside = keeper.replace(which, None if new is None else notes.render(new))
        if new is not None or aside is not None:
            made.append(NoteMade(which, None if new is None else _size(new), aside))
    return RecoveredNotes(keeper.size, max((one.checkpoint.size for one in seen), default=0), tuple(made))


def _signed_by_the_log(raw: bytes | None, definitions: Iterable[Log]) -> Note | None:
    if raw is None:
        return None
    for defined in definitions:
        try:
            note = notes.parse(raw)
            verify_log_signature(note, origin=defined.origin, key=defined.key)
        except (Malformed, Refused):
            continue
        return note
    return None


def _without_witnesses(known: Sequence[Note], definitions: Iterable[Log]) -> Note | None:
    if not known:
        return None
    newest = known[0]
    origins = {defined.origin for defined in definitions}
    return Note(newest.text, tuple(made for made in newest.signatures if made.name in origins))


def _cosigned(known: Sequence[Note], log: Log) -> Note | None:
    """The newest tree of those `known` that a quorum cosigned, with everybody's cosignatures of it."""
    for text in dict.fromkeys(note.text for note in known):
        signatures = dict.fromkeys(made for note in known if note.text == text for made in note.signatures)
        together = Note(text, tuple(signatures)[: notes.SIGNATURES_MAX])
        try:
            verify_checkpoint(notes.render(together), log, now=None, skew_s=0)
        except (Malformed, Refused):
            continue
        return together
    return None


def _size(note: Note) -> int:
    return checkpoints.parse_body(note.text).size
