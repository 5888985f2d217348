"""Encode and decode Keyturn's canonical JSON: RFC 8785 restricted so that one value has exactly one text.

Restrictions (docs/formats/canonical-json.md): object keys are ASCII; numbers are integers within +-(2^53 - 1);
no floats; no duplicate keys; no insignificant white space; at most `SIZE_BYTES_MAX` bytes and `DEPTH_MAX` levels.
Under these, msgspec's output with sorted keys is byte for byte what RFC 8785 asks for (tests hold `rfc8785` as
the oracle), and a text is accepted only when decoding and encoding it again gives the same bytes.

This is NOT for formats that others own (in-toto, SLSA, TUF): those keep their original bytes.
"""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec

from keyturn.errors import Malformed

__all__ = ["DEPTH_MAX", "INTEGER_MAX", "SIZE_BYTES_MAX", "decode", "encode"]

SIZE_BYTES_MAX = 1 << 20
DEPTH_MAX = 32
INTEGER_MAX = 2**53 - 1

T = TypeVar("T")

_STRING_OR_BRACKET = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)

_encoder = msgspec.json.Encoder(order="sorted")
_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


def encode(value: object) -> bytes:
    """Render `value` (structs, dicts, tuples, str, int, bool) as canonical JSON.

    The caller's types keep numbers in range; `decode` refuses whatever does not.
    """
    return _encoder.encode(value)


def decode(raw: bytes, kind: type[T], *, what: str, size_bytes_max: int = SIZE_BYTES_MAX) -> T:
    """Parse canonical JSON `raw` into `kind`, or raise `Malformed` naming `what`.

    Refuses oversize, deep nesting, unknown or duplicate fields, wrong types, numbers outside +-(2^53 - 1),
    floats, and every text that is not the canonical one of its value.
    """
    if len(raw) > size_bytes_max:
        raise Malformed("json-too-large", f"{what}: expected at most {size_bytes_max} bytes, got {len(raw)}")
    _refuse_depth(raw, what)
    decoder: msgspec.json.Decoder[T] | None = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    try:
        value = decoder.decode(raw)
        again = _encoder.encode(value)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError) as err:
        raise Malformed("json-invalid", f"{what}: {_plain(err)}") from err
    if again != raw:
        raise Malformed(
            "json-not-canonical",
            f"{what}: expected canonical JSON (RFC 8785, no duplicate or null fields), got another text of the same value",
        )
    return value


def _refuse_depth(raw: bytes, what: str) -> None:
    # msgspec recurses on the C stack, so depth is bounded before it sees the text. Few brackets cannot be deep.
    if raw.count(b"{") + raw.count(b"[") <= DEPTH_MAX:
        return
    depth = 0
    for token in _STRING_OR_BRACKET.finditer(raw):
        first = raw[token.start()]
        if first in b"{[":
            depth += 1
            if depth > DEPTH_MAX:
                raise Malformed("json-too-deep", f"{what}: expected at most {DEPTH_MAX} levels of nesting")
        elif first in b"}]":
            depth -= 1


def _plain(err: Exception) -> str:
    text = str(err)
    return text[:1].lower() + text[1:] if text else type(err).__name__
