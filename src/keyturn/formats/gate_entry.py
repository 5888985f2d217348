"""What a postgres gate answers to a session key that it lets in: as which role, by which certificate, and where to connect.

Predicate type `https://keyturn.dev/gate-entry/v1`, signed by the gate's key, its one subject the SHA-256 of the certificate
(normative page docs/formats/http.md). It is for whoever connects, so that nobody who answers in the gate's place leads him to
another server; it is in no log, and opens nothing.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from keyturn.errors import Malformed
from keyturn.formats import dsse, statement
from keyturn.formats.digest import sha256
from keyturn.formats.dsse import Envelope
from keyturn.formats.statement import DigestSet, Subject
from keyturn.formats.text import KeyId, LabName, PosixTime
from keyturn.formats.uri import Uri

__all__ = ["GATE_ENTRY", "GateEntry", "make", "parse"]

GATE_ENTRY = "https://keyturn.dev/gate-entry/v1"


class GateEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`gate` lets the key of `certificate` (PEM) in as `role` of `database`, at `address` and `port`, until `ends_at`."""

    lab: LabName
    gate: str
    key: KeyId
    role: Annotated[str, Meta(pattern=r"\Akt_[0-9a-f]{32}\Z")]
    certificate: Annotated[str, Meta(min_length=1, max_length=16384)]
    address: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9.:-]{1,253}\Z")]
    port: Annotated[int, Meta(ge=1, le=65535)]
    database: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}\Z")]
    ends_at: PosixTime
    signed_at: PosixTime

    def __post_init__(self) -> None:
        Uri.parse(self.gate)


def make(value: GateEntry) -> bytes:
    """Render the payload of `value`, to be signed."""
    return statement.make(value, GATE_ENTRY, _subject(value))


def parse(raw: bytes) -> tuple[Envelope, GateEntry]:
    """Parse the signed answer `raw`, about its certificate alone, or raise `Malformed`. The signature is not looked at."""
    envelope = dsse.parse_own(raw)
    parsed = statement.parse(envelope.payload, GateEntry, GATE_ENTRY)
    if parsed.subject != _subject(parsed.predicate):
        raise Malformed("gate-entry-subject", "gate's answer: expected the certificate as its one subject")
    return envelope, parsed.predicate


def _subject(value: GateEntry) -> tuple[Subject, ...]:
    return (Subject(digest=DigestSet(sha256=sha256(value.certificate.encode("utf-8"))), name="certificate"),)
