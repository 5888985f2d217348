"""Read FIDO's metadata as it is published (FIDO Metadata Service 3, section 3.1.7): a JWT that lists authenticators.

What a lab needs of an entry is read, and the rest, which changes with every version of that service, is not looked at.
This is NOT verification: `adapters.keys.fido_metadata` verifies who signed it.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from keyturn.errors import Malformed
from keyturn.formats.built import built

__all__ = ["SIZE_BYTES_MAX", "Entry", "Metadata", "parse"]

SIZE_BYTES_MAX: Final = 32 * 1024 * 1024
"""Of 2026, it has 9 MB."""

_PART = re.compile(rb"[A-Za-z0-9_-]{4,}\Z")
_AAGUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z", re.ASCII)
Day = Annotated[str, Meta(pattern=r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")]


@dataclass(frozen=True, slots=True)
class Entry:
    """One authenticator: its maker's words for it, the roots that speak for it (DER), and what was reported of it."""

    description: str
    roots: tuple[bytes, ...]
    statuses: frozenset[str]


@dataclass(frozen=True, slots=True)
class Metadata:
    """The list, by AAGUID (32 hex digits), and the JWT around it. `next_update` is the day from which it is old."""

    entries: Mapping[str, Entry]
    next_update: str
    algorithm: str
    certificates: tuple[bytes, ...]
    signed: bytes
    signature: bytes

    def __post_init__(self) -> None:
        object.__setattr__(self, "entries", MappingProxyType(dict(self.entries)))


class _Header(msgspec.Struct, frozen=True):
    alg: Annotated[str, Meta(max_length=20)]
    x5c: Annotated[tuple[Annotated[str, Meta(max_length=16_384)], ...], Meta(max_length=8)]


class _Report(msgspec.Struct, frozen=True):
    status: str


class _Statement(msgspec.Struct, frozen=True, rename="camel"):
    description: str = ""
    attestation_root_certificates: tuple[str, ...] = ()


class _Entry(msgspec.Struct, frozen=True, rename="camel"):
    aaguid: str | None = None
    metadata_statement: _Statement | None = None
    status_reports: tuple[_Report, ...] = ()


class _Payload(msgspec.Struct, frozen=True, rename="camel"):
    next_update: Day
    entries: tuple[_Entry, ...]


def parse(raw: bytes) -> Metadata:
    """Parse the file that FIDO publishes, or raise `Malformed`; entries without an AAGUID (U2F, UAF) are left out."""
    if len(raw) > SIZE_BYTES_MAX:
        raise Malformed("fido-metadata-invalid", f"FIDO's metadata: expected at most {SIZE_BYTES_MAX} bytes")
    parts = raw.strip().split(b".")
    if len(parts) != 3 or not all(_PART.match(part) for part in parts):
        raise Malformed("fido-metadata-invalid", "FIDO's metadata: expected a JWT, three parts of base64url")
    try:
        header = msgspec.json.decode(_base64(parts[0]), type=built(_Header))
        payload = msgspec.json.decode(_base64(parts[1]), type=built(_Payload))
        entries = {
            one.aaguid.replace("-", ""): _entry(one)
            for one in payload.entries
            if one.aaguid is not None and _AAGUID.match(one.aaguid)
        }
        certificates = tuple(base64.b64decode(text) for text in header.x5c)
        signature = _base64(parts[2])
    except (msgspec.DecodeError, ValueError, RecursionError) as err:
        raise Malformed("fido-metadata-invalid", f"FIDO's metadata: {str(err)[:200]}") from err
    signed = parts[0] + b"." + parts[1]
    return Metadata(entries, payload.next_update, header.alg, certificates, signed, signature)


def _entry(one: _Entry) -> Entry:
    said = one.metadata_statement or _Statement()
    roots = tuple(base64.b64decode(text) for text in said.attestation_root_certificates)
    return Entry(said.description, roots, frozenset(report.status for report in one.status_reports))


def _base64(part: bytes) -> bytes:
    return base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))
