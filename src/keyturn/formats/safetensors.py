"""Read the header of a safetensors file: the name, type, shape and place of each tensor.

Follows https://huggingface.co/docs/safetensors (format): eight bytes say how long the header is, little-endian; a JSON
object follows, padded with spaces; then the tensors' bytes. As the reference does, a header longer than `HEADER_BYTES_MAX` is
refused, and tensors must lie end to end from 0 to the end of the file in some order, with no gap and no overlap, each as long
as its type and shape say. A name that stands twice is refused.

This is NOT where tensors are read: see `bulk.compare`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from keyturn.errors import Malformed
from keyturn.formats.built import built

__all__ = ["BITS", "HEADER_BYTES_MAX", "LENGTH_BYTES", "Tensor", "header_length", "parse"]

LENGTH_BYTES = 8
HEADER_BYTES_MAX = 100_000_000
"""The reference's own limit."""

BITS: Mapping[str, int] = MappingProxyType(
    {"BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "U16": 16, "I16": 16, "F16": 16, "BF16": 16}
    | {"U32": 32, "I32": 32, "F32": 32, "U64": 64, "I64": 64, "F64": 64, "C64": 64}
    | {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}
)
"""How many bits one element of a type takes."""


class _Place(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    dtype: Annotated[str, Meta(max_length=16)]
    shape: Annotated[tuple[Annotated[int, Meta(ge=0, le=2**62)], ...], Meta(max_length=64)]
    data_offsets: tuple[Annotated[int, Meta(ge=0, le=2**62)], Annotated[int, Meta(ge=0, le=2**62)]]


class Tensor(msgspec.Struct, frozen=True):
    """One tensor; `start` and `end` are counted from the end of the header."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def header_length(raw: bytes, *, size_bytes: int) -> int:
    """Read how long the header is from the first bytes `raw` of a file of `size_bytes`, or raise `Malformed`."""
    if len(raw) < LENGTH_BYTES:
        raise Malformed("safetensors-short", f"safetensors: expected {LENGTH_BYTES} bytes at least, got {len(raw)}")
    length = int.from_bytes(raw[:LENGTH_BYTES], "little")
    if length > HEADER_BYTES_MAX or length > size_bytes - LENGTH_BYTES:
        most = min(HEADER_BYTES_MAX, size_bytes - LENGTH_BYTES)
        raise Malformed("safetensors-header", f"safetensors: expected a header of at most {most} bytes, got {length}")
    return length


def parse(raw: bytes, *, body_bytes: int) -> tuple[Tensor, ...]:
    """Parse the header `raw`, which `body_bytes` of tensors follow, or raise `Malformed`; in order of place."""
    try:
        table = json.loads(raw.decode("utf-8"), object_pairs_hook=_once)
        metadata = table.pop("__metadata__", {}) if isinstance(table, dict) else {}
        msgspec.convert(metadata, dict[str, str])
        places = msgspec.convert(table, built(dict[str, _Place]))
    except (msgspec.MsgspecError, ValueError, RecursionError) as err:
        raise Malformed("safetensors-header", f"safetensors: expected a table of tensors: {str(err)[:300]}") from err
    at = 0
    found = []
    for name, place in sorted(places.items(), key=lambda item: (item[1].data_offsets, item[0])):
        start, end = place.data_offsets
        if start != at:
            raise Malformed(
                "safetensors-offsets",
                f"safetensors: expected a tensor at {at}, where the one before it ends; {name[:120]!r} is at {start}",
            )
        bits = BITS.get(place.dtype)
        if bits is None:
            raise Malformed("safetensors-dtype", f"safetensors: {name[:120]!r} is of no known type: `{place.dtype}`")
        if (end - start) * 8 != math.prod(place.shape) * bits:
            raise Malformed(
                "safetensors-size",
                f"safetensors: {name[:120]!r} has {end - start} bytes, and its type and shape others",
            )
        found.append(Tensor(name, place.dtype, place.shape, start, end))
        at = end
    if at != body_bytes:
        raise Malformed("safetensors-offsets", f"safetensors: expected tensors up to {body_bytes}, they end at {at}")
    return tuple(found)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("expected each name once")
    return table
