"""Predicate of the recovery grant: as many holders of root keys as root needs let one member in, when nothing else works.

`https://keyturn.dev/recovery-grant/v1`, kind `rcv`; normative page docs/formats/records.md. Its envelope carries a signature of
each. Whether they are enough is for `grants.recovery`.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from keyturn.formats.access import Action
from keyturn.formats.text import LabName, MemberId, Nonce, PosixTime, check_free_text
from keyturn.formats.uri import Uri

__all__ = ["RECOVERY_GRANT", "RECOVERY_MAX_S", "RECOVERY_WITHIN_S", "RecoveryGrant"]

RECOVERY_GRANT = "https://keyturn.dev/recovery-grant/v1"

RECOVERY_MAX_S = 4 * 3600
"""How long a recovery grant is open, at the most."""

RECOVERY_WITHIN_S = 24 * 3600
"""How long after it was signed it is over, at the latest."""


class RecoveryGrant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Let `beneficiary`, who proves `session_key`, do `action` on one resource at one gate, from `not_before` to `not_after`.

    `root_version` is the version of root under which it was signed: a gate under another one refuses it.
    """

    lab: LabName
    nonce: Nonce
    beneficiary: MemberId
    action: Action
    resource: str
    gate: str
    justification: str
    root_version: Annotated[int, Meta(ge=1, le=2**31)]
    signed_at: PosixTime
    not_before: PosixTime
    not_after: PosixTime
    session_key: Annotated[str, Meta(min_length=1, max_length=400)]

    def __post_init__(self) -> None:
        Uri.parse(self.resource)
        Uri.parse(self.gate)
        check_free_text(self.justification, what="justification")
        if not self.justification.strip():
            raise ValueError("expected a justification, got an empty one")
        if not self.signed_at <= self.not_before < self.not_after:
            raise ValueError("expected signed_at <= not_before < not_after")
        if self.not_after - self.not_before > RECOVERY_MAX_S:
            raise ValueError(f"expected a recovery grant of at most {RECOVERY_MAX_S} s")
        if self.not_after - self.signed_at > RECOVERY_WITHIN_S:
            raise ValueError(f"expected a recovery grant that is over within {RECOVERY_WITHIN_S} s of signed_at")
