"""Say, as a member, that one door may stand open without a grant until a day: kept where the scan runs, and in no log.

`https://keyturn.dev/standing-acceptance/v1`; normative page docs/formats/standing-acceptance.md. It names the finding by its
digest, with what was seen there in words: what somebody was shown is what he signed. Whether it counts: `standing.accepted`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from keyturn.errors import Malformed
from keyturn.formats import dsse, statement
from keyturn.formats.dsse import Envelope
from keyturn.formats.text import HexDigest, KeyId, LabName, MemberId, Nonce, PosixTime, check_free_text

__all__ = ["STANDING_ACCEPTANCE", "StandingAcceptance", "parse"]

STANDING_ACCEPTANCE = "https://keyturn.dev/standing-acceptance/v1"

_Place = Annotated[str, Meta(min_length=1, max_length=600)]
_Text = Annotated[str, Meta(max_length=600)]
_TEXT_BYTES_MAX = 4 * 600


class StandingAcceptance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`member` lets `finding` at `place`, which is open since `first_seen`, stand open until `until`, as one of two.

    `code`, `where`, `opens`, `to` and `severity` are what the finding says.
    """

    lab: LabName
    nonce: Nonce
    member: MemberId
    key: KeyId
    place: _Place
    finding: HexDigest
    first_seen: PosixTime
    code: Annotated[str, Meta(pattern=r"\A[a-z][a-z0-9-]{2,47}\Z")]
    where: _Text
    opens: _Text
    to: _Text
    severity: Literal["high", "medium", "low", "unknown"]
    reason: str
    signed_at: PosixTime
    until: PosixTime

    def __post_init__(self) -> None:
        for what in ("place", "where", "opens", "to"):
            check_free_text(getattr(self, what), what=what, size_bytes_max=_TEXT_BYTES_MAX)
        check_free_text(self.reason, what="reason")
        if not self.reason.strip():
            raise ValueError("expected a reason, got an empty one")
        if not self.signed_at < self.until:
            raise ValueError("expected signed_at < until")


def parse(raw: bytes) -> tuple[Envelope, StandingAcceptance]:
    """Parse the envelope `raw`, or raise `Malformed`; no signature is looked at."""
    envelope = dsse.parse_own(raw)
    found = statement.parse(envelope.payload, StandingAcceptance, STANDING_ACCEPTANCE)
    if [str(subject.digest.artifact) for subject in found.subject] != [f"sha256:{found.predicate.finding}"]:
        raise Malformed("acceptance-subject", "acceptance: expected the finding as its one subject")
    return envelope, found.predicate
