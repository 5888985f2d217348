"""One keyholder's share of one recording, opened by him and sealed again to whoever was granted to replay it.

Canonical JSON, at most 4 KiB; normative page docs/formats/recordings.md. It is nobody's secret: only the key that the request
names opens it, and only together with others it opens the recording.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from keyturn.formats import canonical_json
from keyturn.formats.text import HexDigest, Name

__all__ = ["OpenedShare", "opened_info", "parse", "render"]


class OpenedShare(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The share of `holder` in the recording with the digest `recording`, opened for the grant `request`; `sealed` by HPKE, in
    base64."""

    version: Literal[1]
    recording: HexDigest
    request: HexDigest
    holder: Name
    sealed: Annotated[str, Meta(max_length=400)]


def opened_info(*, recording: str, request: str, holder: str) -> bytes:
    """What an opened share is bound to: HPKE's `info`."""
    return f"keyturn.dev/opened-share/v1\n{recording}\n{request}\n{holder}\n".encode()


def parse(raw: bytes) -> OpenedShare:
    """Parse `raw`, or raise `Malformed`."""
    return canonical_json.decode(raw, OpenedShare, what="opened share")


def render(value: OpenedShare) -> bytes:
    """Render `value`; `parse(render(x)) == x`."""
    return canonical_json.encode(value)
