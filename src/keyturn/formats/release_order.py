"""Carry an order to the release gate: the grant's bundle, and what its pack index was computed of.

    {"as_of":1790000000,"bundle":{...},"model":"dirHash:...","path":"/srv/models/aurora","size":42,"version":1}

Canonical JSON. Nothing in it is believed: the gate computes the index of (log, model, size, as_of) itself, and the request
that people signed names its digest. `path` is where the gate shall hash the model's files, below a directory that its
operator named; without it the gate releases a `dirHash` that it did not see.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from keyturn.formats import canonical_json
from keyturn.formats.digest import ArtifactDigest
from keyturn.formats.text import PosixTime, Size

__all__ = ["ReleaseOrder", "parse", "render"]


class ReleaseOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Release `model` under the grant of `bundle` (the text of a `grants.bundle`)."""

    bundle: msgspec.Raw
    model: Annotated[str, Meta(max_length=80)]
    size: Size
    as_of: PosixTime
    path: Annotated[str, Meta(min_length=1, max_length=4096)] | None = None
    version: Literal[1]

    def __post_init__(self) -> None:
        ArtifactDigest.parse(self.model)


def parse(raw: bytes) -> ReleaseOrder:
    """Parse `raw`, or raise `Malformed`."""
    return canonical_json.decode(raw, ReleaseOrder, what="release order")


def render(value: ReleaseOrder) -> bytes:
    """Render the canonical text of `value`."""
    return canonical_json.encode(value)
