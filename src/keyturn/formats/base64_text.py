"""Decode standard base64 (RFC 4648 section 4) when it is the one text of its bytes.

Padding is required, and unused trailing bits are zero: otherwise several texts would name one value, and a signed
thing could be copied under another name. This is NOT for base64 that others wrote loosely.
"""

from __future__ import annotations

import base64
import binascii

from keyturn.errors import Malformed

__all__ = ["decode", "encode"]


def encode(raw: bytes) -> str:
    """Render `raw`.

    >>> encode(b"key")
    'a2V5'
    """
    return base64.b64encode(raw).decode("ascii")


def decode(text: str, *, what: str) -> bytes:
    """Parse the canonical base64 `text`, or raise `Malformed` naming `what`."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as err:
        raise Malformed("base64-invalid", f"{what}: expected base64, got `{text[:80]}`") from err
    if base64.b64encode(raw).decode("ascii") != text:
        raise Malformed("base64-not-canonical", f"{what}: expected canonical base64, got `{text[:80]}`")
    return raw
