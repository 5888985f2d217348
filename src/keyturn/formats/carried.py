"""What is carried by hand between a gate that does not reach the log and a machine that does: a question, and its answer.

    {"checkin":"<base64>","gate":"keyturn://...","missing":[],"records":[],"size":17,"version":1}
    {"checkin":"<digest>","envelopes":["<base64>",...],"gate":"keyturn://...","leaves":["<base64>",...],"note":"<base64>",
     "start":17,"version":1}

Canonical JSON. The question has a check-in with the gate's own fresh nonce, and `records` that the gate signed, for the log; it
says how many leaves the gate has (`size`), and which envelopes it has not (`missing`). The answer has the leaves from `start` on,
up to the checkpoint `note` that the witnesses cosigned with that check-in below it. Neither is signed and neither is believed:
the log's admission verifies what it takes, and the gate follows the leaves from its pinned root as it would the log itself.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from keyturn.formats import canonical_json
from keyturn.formats.text import HexDigest, Size
from keyturn.formats.uri import Uri

__all__ = [
    "ANSWER_BYTES_MAX",
    "MISSING_MAX",
    "QUESTION_BYTES_MAX",
    "Answer",
    "Question",
    "parse_answer",
    "parse_question",
    "render_answer",
    "render_question",
]

QUESTION_BYTES_MAX = 16 << 20
ANSWER_BYTES_MAX = 1 << 30
MISSING_MAX = 64


class Question(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the gate `gate` asks of the log, of which it has `size` leaves."""

    version: Literal[1]
    gate: str
    size: Size
    checkin: bytes
    records: Annotated[tuple[bytes, ...], Meta(max_length=4096)]
    missing: Annotated[tuple[HexDigest, ...], Meta(max_length=MISSING_MAX)]

    def __post_init__(self) -> None:
        Uri.parse(self.gate)


class Answer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The log's answer to the question whose check-in has the record digest `checkin`."""

    version: Literal[1]
    gate: str
    checkin: HexDigest
    start: Size
    note: bytes
    leaves: tuple[bytes, ...]
    envelopes: tuple[bytes, ...]

    def __post_init__(self) -> None:
        Uri.parse(self.gate)


def parse_question(raw: bytes) -> Question:
    """Parse `raw`, or raise `Malformed`."""
    return canonical_json.decode(raw, Question, what="gate's question", size_bytes_max=QUESTION_BYTES_MAX)


def render_question(value: Question) -> bytes:
    """Render the canonical text of `value`."""
    return canonical_json.encode(value)


def parse_answer(raw: bytes) -> Answer:
    """Parse `raw`, or raise `Malformed`."""
    return canonical_json.decode(raw, Answer, what="answer for a gate", size_bytes_max=ANSWER_BYTES_MAX)


def render_answer(value: Answer) -> bytes:
    """Render the canonical text of `value`."""
    return canonical_json.encode(value)
