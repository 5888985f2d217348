"""Predicate by which a member says that he deletes the bytes of an artifact, in one place.

`https://keyturn.dev/disposal/v1`, kind `dsp`; normative page docs/formats/disposal.md. Its one subject is the artifact. It is
logged before anything is deleted. It lets nobody do anything, and changes nothing about what was signed: the digest stands.
"""

from __future__ import annotations

import msgspec

from keyturn.errors import Malformed
from keyturn.formats.text import HexDigest, KeyId, LabName, MemberId, Nonce, PosixTime, check_free_text

__all__ = ["DISPOSAL", "Disposal"]

DISPOSAL = "https://keyturn.dev/disposal/v1"


class Disposal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """`member` deletes the artifact at `place` (of which machine, and where there: his words) because of `reason`.

    `request` is the digest of the access request under whose grant he does, if it is one.
    """

    lab: LabName
    nonce: Nonce
    member: MemberId
    key: KeyId
    place: str
    reason: str
    request: HexDigest | None = None
    signed_at: PosixTime

    def __post_init__(self) -> None:
        for what, text in (("place", self.place), ("reason", self.reason)):
            check_free_text(text, what=what)
            if not text.strip():
                raise Malformed("json-invalid", f"disposal: expected a `{what}`")
