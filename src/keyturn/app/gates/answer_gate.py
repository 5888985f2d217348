"""Answer the question of a gate that does not reach the log, where the log is reached; and judge such an answer at the gate.

To answer: what the gate signed is appended, its check-in last; when that is witnessed, the log is followed as any reader does.
The answer has the leaves that the gate lacks, with every envelope that reading them took.

To judge: it is for this gate, and for the question that lies there (`require_for`); it continues what was brought; and a view
that begins at the pinned root and follows all of it believes it, with the question's nonce in it. The gate does the same again.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence

from keyturn.app.log.follow_log import follow_log
from keyturn.app.records.sign_record import Logged
from keyturn.errors import KeyturnError, Malformed, Refused
from keyturn.formats import checkpoint as checkpoints
from keyturn.formats import leaf as leaves_format
from keyturn.formats import note as notes
from keyturn.formats import records
from keyturn.formats.carried import Answer, Question
from keyturn.formats.digest import Sha256
from keyturn.grants.view import GateView
from keyturn.ports import LogReader, LogWriter

__all__ = ["answer_question", "require_answer", "require_for"]


def answer_question(
    asked: Question,
    view: GateView,
    reader: LogReader,
    writer: LogWriter,
    await_witnessed: Callable[[Logged], object],
    *,
    now: Callable[[], int],
) -> tuple[Answer, tuple[KeyturnError, ...]]:
    """The answer to `asked`, `view` being a reader's that has read nothing yet; and why the log refused any of its records."""
    refused = []
    for raw in asked.records:
        try:
            writer.append(raw)
        except Refused as err:
            refused.append(err)
    checkin = records.parse(asked.checkin)
    if checkin.kind != "chk" or checkin.statement.predicate.gate != asked.gate:
        raise Refused("question-checkin", "the question has no check-in of its gate", hint="keyturn gate host ask")
    logged = Logged(
        checkin.id, checkin.digest, writer.append(asked.checkin), records.leaf_of_record(checkin, asked.checkin)
    )
    await_witnessed(logged)
    reading = _Remembered(reader)
    for digest in asked.missing:
        reading.try_envelope(Sha256(digest))
    seen = follow_log(view, reading, now=now())
    size, note = seen.frontier.size, seen.checkpoint
    assert note is not None
    if asked.size > size:
        raise Refused(
            "question-ahead",
            f"the gate has {asked.size} leaves, and this log shows {size}",
            hint="ask a machine that reaches the log itself: what this one reads is older than what the gate has",
        )
    return (
        Answer(
            version=1,
            gate=asked.gate,
            checkin=checkin.digest,
            start=asked.size,
            note=note.note,
            leaves=tuple(reading.read[asked.size : size]),
            envelopes=_needed(reading, asked),
        ),
        tuple(refused),
    )


def require_for(answer: Answer, asked: Question, brought: Container[str]) -> None:
    """Refuse, by name, an `answer` that is not to `asked`; `brought` are the digests of the records that were brought before."""
    if answer.gate != asked.gate:
        raise Refused(
            "answer-other-gate",
            f"the answer is for `{answer.gate}`, this is `{asked.gate}`",
            hint="take it to that gate",
        )
    if answer.checkin in brought:
        raise Refused("answer-taken", "this answer was taken before, or one that is newer: it says nothing new")
    nonce = records.parse(asked.checkin).digest
    if answer.checkin != nonce:
        raise Refused(
            "answer-other-question",
            f"the answer is to the question `{answer.checkin[:16]}`, and this gate asks `{nonce[:16]}`",
            hint="the gate asks anew when it starts, and after each answer: carry its newest question, keyturn gate host ask",
        )
    size, brought_to = checkpoints.parse_body(notes.parse(answer.note).text).size, answer.start + len(answer.leaves)
    if brought_to != size:
        raise Refused(
            "answer-incomplete",
            f"the answer has leaves up to {brought_to}, and its checkpoint is of {size}",
            hint="carry it again, from the machine that made it",
        )


def require_answer(answer: Answer, view: GateView, brought: LogReader, *, now: int) -> GateView:
    """The view after all that was brought, `answer` with it, if that is believed and has the question's nonce; else raise.

    `view` begins at the pinned root.
    """
    seen = follow_log(view.expecting(Sha256(answer.checkin)), brought, now=now)
    if not seen.nonce_seen:
        raise Refused(
            "answer-without-nonce",
            "the answer's checkpoint does not have this gate's question below it",
            hint="carry it again: keyturn gate answer waits until witnesses cosigned it",
        )
    return seen


def _needed(reading: _Remembered, asked: Question) -> tuple[bytes, ...]:
    """What reading took, as far as it is of leaves that the gate has not, or of envelopes that it missed."""
    wanted = set(asked.missing)
    for leaf in reading.read[asked.size :]:
        try:
            wanted.add(leaves_format.parse(leaf).envelope)
        except Malformed:
            continue  # the leaf of no record
    return tuple(raw for digest, raw in reading.found.items() if digest in wanted)


class _Remembered:
    """A `LogReader` that remembers what was read of another."""

    def __init__(self, reader: LogReader) -> None:
        self._reader = reader
        self.read: list[bytes] = []
        self.found: dict[Sha256, bytes] = {}

    def checkpoint(self) -> bytes:
        return self._reader.checkpoint()

    def leaves(self, start: int, end: int) -> Sequence[bytes]:
        found = self._reader.leaves(start, end)
        self.read[start:] = found
        return found

    def hashes(self, level: int, start: int, end: int) -> Sequence[bytes]:
        return self._reader.hashes(level, start, end)

    def envelope(self, digest: Sha256) -> bytes:
        found = self.found[digest] = self._reader.envelope(digest)
        return found

    def try_envelope(self, digest: Sha256) -> None:
        """Remember the envelope, if it can be had."""
        try:
            self.envelope(digest)
        except KeyturnError:
            return
