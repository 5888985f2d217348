"""Carry one version of the lab's trust metadata through the log: the signed TUF bytes, and the target files they name.

    {"files":{"policy/release.cedar":"<base64>","roster.toml":"<base64>"},"metadata":"<base64>","role":"targets","version":3}

Canonical JSON; `metadata` is byte for byte what was signed. A root version has no files. The record's digest is the
SHA-256 of `metadata`. This is NOT verification: `trust.history` verifies, and only what it verified is read.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from keyturn.errors import Malformed
from keyturn.formats import base64_text, canonical_json
from keyturn.formats.digest import check_path

__all__ = ["TrustVersion", "parse", "render"]

_WHAT = "trust version"


class TrustVersion(msgspec.Struct, frozen=True, kw_only=True):
    """`files` is (target path, content), in order of path."""

    role: Literal["root", "targets"]
    version: int
    metadata: bytes
    files: tuple[tuple[str, bytes], ...] = ()


class _Wire(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    role: Literal["root", "targets"]
    version: Annotated[int, Meta(ge=1, le=2**31)]
    metadata: str
    files: Annotated[dict[str, str], Meta(max_length=256)] = {}


def parse(raw: bytes) -> TrustVersion:
    """Parse `raw`, or raise `Malformed`."""
    wire = canonical_json.decode(raw, _Wire, what=_WHAT)
    value = TrustVersion(
        role=wire.role,
        version=wire.version,
        metadata=base64_text.decode(wire.metadata, what=_WHAT),
        files=tuple(
            (check_path(path), base64_text.decode(content, what=_WHAT)) for path, content in sorted(wire.files.items())
        ),
    )
    if value.role == "root" and value.files:
        raise Malformed("trust-version-files", "trust version: a root version carries no target files")
    return value


def render(value: TrustVersion) -> bytes:
    """Render the canonical text of `value`."""
    return canonical_json.encode(
        _Wire(
            role=value.role,
            version=value.version,
            metadata=base64_text.encode(value.metadata),
            files={path: base64_text.encode(content) for path, content in value.files},
        )
    )
