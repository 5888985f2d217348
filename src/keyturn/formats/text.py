"""Bound the small texts inside records: names, nonces, times and what people write.

Times are POSIX seconds as integers everywhere in Keyturn's own records, as in C2SP cosignatures: one value has one
text, and comparing needs no calendar (docs/decisions/0002). Free text refuses control characters and bidirectional
overrides at the parser, so that no terminal, log line or page ever meets them.
"""

from __future__ import annotations

import unicodedata
from typing import Annotated

from msgspec import Meta

from keyturn.errors import Malformed

__all__ = [
    "HexDigest",
    "KeyId",
    "LabName",
    "MemberId",
    "Name",
    "Nonce",
    "PosixTime",
    "Size",
    "check_free_text",
    "is_printable",
]

PosixTime = Annotated[int, Meta(ge=0, le=253_402_300_799)]
"""Seconds since 1970-01-01T00:00:00Z, up to the year 9999."""

Size = Annotated[int, Meta(ge=0, le=2**53 - 1)]

Nonce = Annotated[str, Meta(pattern=r"\A[0-9a-f]{32}\Z")]
"""16 random bytes in hex: makes two records of the same content two records."""

HexDigest = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]

KeyId = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
"""SHA-256 in hex of the key's SubjectPublicKeyInfo DER: one key has one id."""

LabName = Annotated[str, Meta(pattern=r"\A[a-z0-9][a-z0-9-]{0,62}(\.[a-z0-9][a-z0-9-]{0,62}){0,7}\Z", max_length=253)]
"""The DNS name of a lab, lower case."""

MemberId = Annotated[str, Meta(pattern=r"\A[a-z][a-z0-9._-]{0,62}(\+[a-z0-9][a-z0-9._-]{0,62})?\Z")]
"""`ada`, or `ada+coder` for an agent of hers."""

Name = Annotated[str, Meta(pattern=r"\A[a-z0-9][a-z0-9._-]{0,62}\Z")]
"""Name of a group, permit, step, input or output."""

_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})


def is_printable(text: str) -> bool:
    """Whether every character shows itself: no control, bidirectional, zero-width, private or separator characters."""
    if text.isascii():
        return text.isprintable()
    return all(unicodedata.category(character) not in _FORBIDDEN_CATEGORIES for character in text)


def check_free_text(text: str, *, what: str, size_bytes_max: int = 2000) -> str:
    """Accept what a person wrote, or raise `Malformed`: control characters (but newline), bidi and zero-width
    format characters, private use and oversize are refused."""
    if len(text) <= size_bytes_max and text.isascii() and text.isprintable():
        return text
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > size_bytes_max:
        raise Malformed("text-too-long", f"{what}: expected at most {size_bytes_max} bytes, got {size}")
    if is_printable(text):
        return text
    for position, character in enumerate(text):
        if character != "\n" and not is_printable(character):
            raise Malformed(
                "text-control-character",
                f"{what}: expected printable text, got U+{ord(character):04X} at character {position}",
                hint="remove the control, zero-width or direction-changing character",
            )
    return text
