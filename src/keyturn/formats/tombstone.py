"""Predicate of erasing: one of the people whom it takes says that the text of a record shall go, and on which ground.

`https://keyturn.dev/tombstone/v1`, kind `tmb`; normative page docs/formats/tombstones.md. It names the record by its digest,
and has no free text: a tombstone stays for good, so nothing about a person belongs into one. Whether its signer counts, and what
may be erased, is for `grants.tombstones`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from keyturn.formats.text import HexDigest, KeyId, LabName, MemberId, Nonce, PosixTime

__all__ = ["TOMBSTONE", "Ground", "Tombstone"]

TOMBSTONE = "https://keyturn.dev/tombstone/v1"

Ground = Literal["consent-withdrawn", "legal-obligation", "no-longer-needed", "objection", "unlawful"]
"""Why, in the words of Article 17(1) GDPR: (b), (e), (a), (c), (d)."""


class Tombstone(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Erase the envelope of `record`, as one of the humans that it takes. `case` is where the lab keeps the rest."""

    lab: LabName
    nonce: Nonce
    member: MemberId
    key: KeyId
    record: HexDigest
    ground: Ground
    case: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")] | None = None
    signed_at: PosixTime
