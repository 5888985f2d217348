"""Predicate of looking again: a person's review of one break-glass use, or of who has which access.

`https://keyturn.dev/review/v1`, kind `rvw`; normative page docs/formats/records.md. It says what somebody found. Whether he may
say so, and what his word ends, is for `grants.reviews`.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from keyturn.formats.text import HexDigest, KeyId, LabName, MemberId, Nonce, PosixTime, Size, check_free_text

__all__ = ["REVIEW", "AccessReport", "Review"]

REVIEW = "https://keyturn.dev/review/v1"


class AccessReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The access report that was reviewed: its SHA-256, and the log size, trust version and time that it is computed of."""

    sha256: HexDigest
    log_size: Size
    trust_version: Annotated[int, Meta(ge=1, le=2**31)]
    as_of: PosixTime


class Review(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Say, as one human, what was found on looking at exactly one thing: the break-glass `use`, or the access `report`."""

    lab: LabName
    nonce: Nonce
    member: MemberId
    key: KeyId
    use: HexDigest | None = None
    report: AccessReport | None = None
    finding: str
    signed_at: PosixTime

    def __post_init__(self) -> None:
        check_free_text(self.finding, what="finding")
        if not self.finding.strip():
            raise ValueError("expected a finding, got an empty one")
        if (self.use is None) == (self.report is None):
            raise ValueError("expected exactly one of use and report")
