"""Predicate of offering less: a person who would not agree to a request says to what he would.

`https://keyturn.dev/counter-offer/v1`, kind `ofr`; normative page docs/formats/records.md. It grants nothing and ends nothing:
whoever asked signs another request that follows his own, or does not.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from keyturn.formats.text import HexDigest, KeyId, LabName, MemberId, Nonce, PosixTime, Size, check_free_text

__all__ = ["COUNTER_OFFER", "CounterOffer"]

COUNTER_OFFER = "https://keyturn.dev/counter-offer/v1"


class CounterOffer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Offer less than `request` asks for: another duration, fewer bytes, or both. It matters until `until`."""

    lab: LabName
    nonce: Nonce
    member: MemberId
    key: KeyId
    request: HexDigest
    duration_s: Annotated[int, Meta(ge=1, le=30 * 86400)] | None = None
    bytes_max: Size | None = None
    reason: str
    signed_at: PosixTime
    until: PosixTime

    def __post_init__(self) -> None:
        check_free_text(self.reason, what="reason")
        if not self.reason.strip():
            raise ValueError("expected a reason, got an empty one")
        if self.duration_s is None and self.bytes_max is None:
            raise ValueError("expected duration_s, bytes_max, or both")
        if self.until < self.signed_at:
            raise ValueError("expected until at or after signed_at")
