"""Bound the small texts inside records: names, nonces, times and what people write.

Times are POSIX seconds as integers everywhere in Keyturn's own records, as in C2SP cosignatures: one value has one
text, and comparing needs no calendar (docs/decisions/0002). Free text refuses control characters and bidirectional
overrides at the parser, so that no terminal, log line or page ever meets them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated

from msgspec import Meta

from keyturn.errors import Malformed

__all__ = [
    "HexDigest",
    "HttpUrl",
    "KeyId",
    "LabName",
    "MemberId",
    "Name",
    "Nonce",
    "PosixTime",
    "Short",
    "Size",
    "check_free_text",
    "is_hex_digest",
    "is_key_id",
    "is_lab_name",
    "is_member_id",
    "is_name",
    "is_nonce",
    "is_printable",
]

PosixTime = Annotated[int, Meta(ge=0, le=253_402_300_799)]
"""Seconds since 1970-01-01T00:00:00Z, up to the year 9999."""

Size = Annotated[int, Meta(ge=0, le=2**53 - 1)]

_NONCE = r"\A[0-9a-f]{32}\Z"
_HEX64 = r"\A[0-9a-f]{64}\Z"
_LAB = r"\A[a-z0-9][a-z0-9-]{0,62}(\.[a-z0-9][a-z0-9-]{0,62}){0,7}\Z"
_MEMBER = r"\A[a-z][a-z0-9._-]{0,62}(\+[a-z0-9][a-z0-9._-]{0,62})?\Z"
_NAME = r"\A[a-z0-9][a-z0-9._-]{0,62}\Z"

Nonce = Annotated[str, Meta(pattern=_NONCE)]
"""16 random bytes in hex: makes two records of the same content two records."""

HexDigest = Annotated[str, Meta(pattern=_HEX64)]

KeyId = Annotated[str, Meta(pattern=_HEX64)]
"""SHA-256 in hex of the key's SubjectPublicKeyInfo DER: one key has one id."""

LabName = Annotated[str, Meta(pattern=_LAB, max_length=253)]
"""The DNS name of a lab, lower case."""

MemberId = Annotated[str, Meta(pattern=_MEMBER)]
"""`ada`, or `ada+coder` for an agent of hers."""

HttpUrl = Annotated[str, Meta(pattern=r"\Ahttps?://[!-~]{1,500}\Z")]
"""Where something answers, or a page is; a place and no name."""

Name = Annotated[str, Meta(pattern=_NAME)]
"""Name of a group, permit, step, input or output."""

Short = Annotated[str, Meta(max_length=253)]
"""A text whose form the constructor looks at, by one of the functions below: for statements that a log has 100,000 of."""


def _known(pattern: str) -> Callable[[str], bool]:
    """Say whether a text (`Short`: what is remembered is bounded) has the form `pattern`. A log names the same few again and
    again, and remembering them takes a quarter of the time of matching them."""
    match = re.compile(pattern).match

    @lru_cache(maxsize=1024)
    def matches(text: str) -> bool:
        return match(text) is not None

    return matches


is_lab_name, is_member_id, is_key_id, is_name = _known(_LAB), _known(_MEMBER), _known(_HEX64), _known(_NAME)
is_nonce, is_hex_digest = re.compile(_NONCE).match, re.compile(_HEX64).match  # these do not come again

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
