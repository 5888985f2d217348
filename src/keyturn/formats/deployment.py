"""Predicate by which somebody says that a released model runs on a host, or does not run there any more.

`https://keyturn.dev/deployment/v1`, kind `dep`; normative page docs/formats/deployment.md. Its one subject is the model. It lets
nobody do anything: it is there so that whoever withdraws a release knows where it runs.
"""

from __future__ import annotations

import msgspec

from keyturn.formats.text import HexDigest, KeyId, LabName, MemberId, Nonce, PosixTime, check_free_text
from keyturn.formats.uri import Uri

__all__ = ["DEPLOYMENT", "Deployment"]

DEPLOYMENT = "https://keyturn.dev/deployment/v1"


class Deployment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The model that was released as `resource` by `request` (its digest) runs on `host` from `signed_at` on; with
    `ends`, the digest of such a statement, it does not run there any more. Signed by exactly one `member` or `gate`."""

    lab: LabName
    nonce: Nonce
    member: MemberId | None = None
    gate: str | None = None
    key: KeyId
    host: str
    resource: str
    request: HexDigest
    ends: HexDigest | None = None
    reason: str = ""
    signed_at: PosixTime

    def __post_init__(self) -> None:
        check_free_text(self.reason, what="reason")
        if (self.member is None) == (self.gate is None):
            raise ValueError("expected exactly one of member and gate")
        if self.gate is not None:
            Uri.parse(self.gate)
        if Uri.parse(self.host).type != "host":
            raise ValueError("expected a host")
        if Uri.parse(self.resource).type != "model":
            raise ValueError("expected a model as resource")
