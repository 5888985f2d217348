"""Predicates of taking away: revocation, suspension and lift. (A denial is a human authorization that denies.)

Each names its one signer and key, and an `until` after which gates may forget it: at most the lifetime that targets
allow (`Limits.negative_lifetime_max_s`). Normative page docs/formats/records.md.
"""

from __future__ import annotations

import msgspec

from keyturn.formats.text import HexDigest, KeyId, LabName, MemberId, Nonce, PosixTime, check_free_text
from keyturn.formats.uri import Uri

__all__ = ["LIFT", "REVOCATION", "SUSPENSION", "Lift", "Revocation", "Suspension"]

REVOCATION = "https://keyturn.dev/revocation/v1"
SUSPENSION = "https://keyturn.dev/suspension/v1"
LIFT = "https://keyturn.dev/lift/v1"


class Revocation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """End a request or grant, at once: a withdrawal when `member` is its requester or beneficiary."""

    lab: LabName
    nonce: Nonce
    member: MemberId
    key: KeyId
    request: HexDigest
    reason: str
    signed_at: PosixTime
    until: PosixTime

    def __post_init__(self) -> None:
        check_free_text(self.reason, what="reason")
        if self.until < self.signed_at:
            raise ValueError("expected until at or after signed_at")


class Suspension(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Suspend a member, a key, or close a gate, until `until`. Exactly one target."""

    lab: LabName
    nonce: Nonce
    member: MemberId
    key: KeyId
    target_member: MemberId | None = None
    target_key: KeyId | None = None
    target_gate: str | None = None
    reason: str
    signed_at: PosixTime
    until: PosixTime

    def __post_init__(self) -> None:
        check_free_text(self.reason, what="reason")
        if self.until < self.signed_at:
            raise ValueError("expected until at or after signed_at")
        targets = (self.target_member, self.target_key, self.target_gate)
        if sum(target is not None for target in targets) != 1:
            raise ValueError("expected exactly one of target_member, target_key and target_gate")
        if self.target_gate is not None:
            Uri.parse(self.target_gate)


class Lift(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Lift a suspension, as one of the two humans that it takes."""

    lab: LabName
    nonce: Nonce
    member: MemberId
    key: KeyId
    suspension: HexDigest
    reason: str
    signed_at: PosixTime

    def __post_init__(self) -> None:
        check_free_text(self.reason, what="reason")
