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
from msgspec import inspect

from keyturn.errors import Malformed
from keyturn.formats.built import built

__all__ = ["DEPTH_MAX", "INTEGER_MAX", "SIZE_BYTES_MAX", "decode", "encode"]

SIZE_BYTES_MAX = 1 << 20
DEPTH_MAX = 32
INTEGER_MAX = 2**53 - 1
_QUOTED_MAX = 400

T = TypeVar("T")

# Possessive, and a string that never ends reaches to the end: otherwise a hostile text takes quadratic time.
_TOKEN = re.compile(rb'("(?:[^"\\]++|\\.)*+"?)(:?)|([\[{])|([\]}])|(-?[0-9][-+.0-9Ee]*+)', re.DOTALL)

_encoder = msgspec.json.Encoder(order="sorted")
_decoders: dict[Any, tuple[msgspec.json.Decoder[Any], bool]] = {}


def encode(value: object) -> bytes:
    """Render `value` (structs, dicts, tuples, str, int, bool; bytes as base64) as canonical JSON.

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
    known = _decoders.get(kind)
    if known is None:
        known = _decoders[kind] = (msgspec.json.Decoder(built(kind)), _is_open(inspect.type_info(kind), set()))
    decoder, is_open = known
    if is_open:
        _refuse_depth(raw, what)
    try:
        value: T = decoder.decode(raw)
        again = _encoder.encode(value)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError) as err:
        raise Malformed("json-invalid", f"{what}: {_plain(err)}") from err
    if again != raw:
        raise Malformed(
            "json-not-canonical",
            f"{what}: expected canonical JSON (RFC 8785, no duplicate or null fields), got another text of the same value",
        )
    if is_open:
        _refuse_keys_and_numbers(raw, what)
    return value


def _is_open(info: inspect.Type, seen: set[type]) -> bool:
    """Whether the type leaves depth, keys or numbers to the text; then the text itself is looked through."""
    match info:
        case inspect.StructType(cls=cls, fields=fields):
            if cls in seen:
                return True  # a type within itself has no bound on its depth
            return any(_is_open(field.type, seen | {cls}) for field in fields)
        case inspect.VarTupleType(item_type=item) | inspect.ListType(item_type=item):
            return _is_open(item, seen)
        case inspect.TupleType(item_types=items) | inspect.UnionType(types=items):
            return any(_is_open(item, seen) for item in items)
        case inspect.Metadata(type=inner):
            return _is_open(inner, seen)
        case inspect.IntType(ge=int(low), le=int(high)):
            return low < -INTEGER_MAX or high > INTEGER_MAX
        case inspect.StrType() | inspect.BoolType() | inspect.NoneType() | inspect.LiteralType():
            return False
        case _:
            return True


def _refuse_depth(raw: bytes, what: str) -> None:
    # Few brackets cannot be deep.
    if raw.count(b"{") + raw.count(b"[") <= DEPTH_MAX:
        return
    depth = 0
    for token in _TOKEN.finditer(raw):
        _, _, opened, closed, _ = token.groups()
        if opened:
            depth += 1
            if depth > DEPTH_MAX:
                raise Malformed("json-too-deep", f"{what}: expected at most {DEPTH_MAX} levels of nesting")
        elif closed:
            depth -= 1


def _refuse_keys_and_numbers(raw: bytes, what: str) -> None:
    for token in _TOKEN.finditer(raw):
        text, colon, _, _, number = token.groups()
        if colon and not text.isascii():
            raise Malformed(
                "json-key", f"{what}: expected object keys in ASCII, got `{text[:80].decode(errors='replace')}`"
            )
        if number and (len(number) > 17 or not number.lstrip(b"-").isdigit() or abs(int(number)) > INTEGER_MAX):
            raise Malformed(
                "json-number", f"{what}: expected integers within +-(2^53 - 1), got `{number[:40].decode()}`"
            )


def _plain(err: Exception) -> str:
    text = str(err)[:_QUOTED_MAX]  # it quotes what it refuses, whatever its length
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]  # `JSON` stays what it is
