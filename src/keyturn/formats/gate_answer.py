"""What a gate says when it was given a denial, revocation or suspension: that it obeys it, and how much of the log it has read.

Predicate type `https://keyturn.dev/gate-obeys/v1`, signed by the gate's key, its one subject the SHA-256 of the record (normative
page docs/formats/http.md). It is for whoever took access away, and is in no log: a gate's word about itself opens nothing.
"""

from __future__ import annotations

import msgspec

from keyturn.errors import Malformed
from keyturn.formats import dsse, statement
from keyturn.formats.dsse import Envelope
from keyturn.formats.statement import DigestSet, Subject
from keyturn.formats.text import HexDigest, KeyId, LabName, PosixTime, Size
from keyturn.formats.uri import Uri

__all__ = ["GATE_OBEYS", "GateObeys", "make", "parse"]

GATE_OBEYS = "https://keyturn.dev/gate-obeys/v1"


class GateObeys(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """`gate` obeys `record` from now on; its view is of `size` entries. `acted`: it had acted on the request before."""

    lab: LabName
    gate: str
    key: KeyId
    record: HexDigest
    size: Size
    acted: bool = False
    signed_at: PosixTime

    def __post_init__(self) -> None:
        Uri.parse(self.gate)


def make(value: GateObeys) -> bytes:
    """Render the payload of `value`, to be signed."""
    return statement.make(value, GATE_OBEYS, _subject(value))


def parse(raw: bytes) -> tuple[Envelope, GateObeys]:
    """Parse the signed answer `raw`, whose one subject is its record, or raise `Malformed`. The signature is not looked at."""
    envelope = dsse.parse_own(raw)
    parsed = statement.parse(envelope.payload, GateObeys, GATE_OBEYS)
    if parsed.subject != _subject(parsed.predicate):
        raise Malformed("gate-answer-subject", "gate's answer: expected the record as its one subject")
    return envelope, parsed.predicate


def _subject(value: GateObeys) -> tuple[Subject, ...]:
    return (Subject(digest=DigestSet(sha256=value.record), name="record"),)
