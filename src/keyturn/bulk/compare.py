"""Compare two directories or files: file by file, and a safetensors file tensor by tensor.

For each tensor: only on one side, another type or shape, the same bytes, or by how much its values differ at most. Bytes are
compared in blocks, and values are read of blocks that differ alone: two large files that are nearly the same cost as much as
reading them. A file whose header is not one of safetensors (`formats.safetensors`) is compared as bytes, and the report says why.

This is NOT a verdict: whether two builders agree is decided by digests (`custody.reproduced`). Nothing here is a tolerance.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from keyturn.bulk.manifest import Found, look
from keyturn.errors import Malformed, Refused, Unavailable
from keyturn.formats import safetensors
from keyturn.formats.safetensors import Tensor

__all__ = ["FileDifference", "TensorDifference", "Verdict", "compare"]

Verdict = Literal["same", "differs", "only-first", "only-second"]

_BLOCK_BYTES = 1 << 20
_VALUES_BYTES = 4096
_SUFFIX = ".safetensors"
_AGAIN = "stop whatever writes there, then try again"
_CODES = {"BOOL": "B", "U8": "B", "I8": "b", "U16": "H", "I16": "h", "U32": "I", "I32": "i", "U64": "Q", "I64": "q"} | {
    "F16": "e",
    "F32": "f",
    "F64": "d",
}


@dataclass(frozen=True, slots=True)
class TensorDifference:
    """One tensor in both files or in one. `first` and `second` are type and shape, as `F32 [2, 3]`, or empty.

    `max_abs` is the greatest absolute difference of two elements as text: `nan` when a value that is no number stands against
    another one, empty where elements are not compared (another type or shape, a type without a meaning here).
    """

    name: str
    verdict: Verdict
    first: str
    second: str
    max_abs: str = ""


@dataclass(frozen=True, slots=True)
class FileDifference:
    """One file. `tensors` are those of a safetensors file that differs; `note` says why there are none where one would look."""

    path: str
    verdict: Verdict
    first_bytes: int | None
    second_bytes: int | None
    tensors: tuple[TensorDifference, ...] = ()
    note: str = ""


def compare(first: Path, second: Path) -> tuple[FileDifference, ...]:
    """Compare `first` with `second`, both directories or both files; in order of the paths.

    Raises `Refused` for links, special files, and what changes meanwhile; `Unavailable` when something cannot be read.
    """
    listed = look(first), look(second)
    if first.is_dir() != second.is_dir():
        raise Refused("compare-kinds", f"expected two directories or two files, got `{first}` and `{second}`")
    if not first.is_dir():
        found: tuple[FileDifference, ...] = (_both(second.name, first, listed[0][0], second, listed[1][0]),)
    else:
        ones, others = ({file.path: file for file in files} for files in listed)
        found = tuple(
            _only(path, ones.get(path), others.get(path))
            if path not in ones or path not in others
            else _both(path, first / path, ones[path], second / path, others[path])
            for path in sorted(ones.keys() | others.keys())
        )
    if (look(first), look(second)) != listed:
        raise Refused("file-changed", f"`{first}` or `{second}` changed while it was read", hint=_AGAIN)
    return found


def _only(path: str, one: Found | None, other: Found | None) -> FileDifference:
    return FileDifference(
        path,
        "only-second" if one is None else "only-first",
        None if one is None else one.size,
        None if other is None else other.size,
    )


class _Bytes:
    """A part of a file that is open, read where it is asked for; short when the file shrank, and `compare` then says so."""

    def __init__(self, descriptor: int, start: int, size: int) -> None:
        self._descriptor, self._start, self.size = descriptor, start, size

    def read(self, at: int, size: int) -> bytes:
        return os.pread(self._descriptor, min(size, self.size - at), self._start + at)

    def part(self, start: int, end: int) -> _Bytes:
        return _Bytes(self._descriptor, self._start + start, end - start)


def _both(path: str, first: Path, one: Found, second: Path, other: Found) -> FileDifference:
    with _opened(first, one) as a, _opened(second, other) as b:
        if a.size == b.size and next(_differing(a, b), None) is None:
            return FileDifference(path, "same", one.size, other.size)
        tensors: tuple[TensorDifference, ...] = ()
        note = ""
        if path.endswith(_SUFFIX):
            try:
                tensors = _tensors(a, b)
            except Malformed as err:
                note = err.message
        if tensors and all(found.verdict == "same" for found in tensors):
            note = "the tensors are the same: the headers differ (order, metadata or padding)"
        return FileDifference(path, "differs", one.size, other.size, tensors, note)


def _tensors(a: _Bytes, b: _Bytes) -> tuple[TensorDifference, ...]:
    (ones, body_a), (others, body_b) = _header(a), _header(b)
    found = []
    for name in sorted(ones.keys() | others.keys()):
        x, y = ones.get(name), others.get(name)
        if x is None or y is None:
            verdict: Verdict = "only-second" if x is None else "only-first"
            found.append(TensorDifference(name, verdict, _said(x), _said(y)))
        elif (x.dtype, x.shape) != (y.dtype, y.shape):
            found.append(TensorDifference(name, "differs", _said(x), _said(y)))
        else:
            most = _max_abs(x.dtype, body_a.part(x.start, x.end), body_b.part(y.start, y.end))
            found.append(TensorDifference(name, "same" if most is None else "differs", _said(x), _said(y), most or ""))
    return tuple(found)


def _header(raw: _Bytes) -> tuple[dict[str, Tensor], _Bytes]:
    length = safetensors.header_length(raw.read(0, safetensors.LENGTH_BYTES), size_bytes=raw.size)
    body = raw.part(safetensors.LENGTH_BYTES + length, raw.size)
    found = safetensors.parse(raw.read(safetensors.LENGTH_BYTES, length), body_bytes=body.size)
    return {one.name: one for one in found}, body


def _said(tensor: Tensor | None) -> str:
    return "" if tensor is None else f"{tensor.dtype} {list(tensor.shape)}"


def _max_abs(dtype: str, a: _Bytes, b: _Bytes) -> str | None:
    """The greatest difference as text, or `None` when the bytes are the same; empty for a type without a meaning here."""
    most: int | float | None = None
    for block_a, block_b in _differing(a, b):
        for at in range(0, len(block_a), _VALUES_BYTES):
            x, y = block_a[at : at + _VALUES_BYTES], block_b[at : at + _VALUES_BYTES]
            if x == y:
                continue
            ones, others = _values(dtype, x), _values(dtype, y)
            if ones is None or others is None:
                return ""
            # 0.0 and -0.0, or two kinds of no number, are other bytes and no other value: they differ, by 0.
            apart = list(map(_apart, ones, others))
            most = math.nan if any(map(math.isnan, apart)) else max(apart if most is None else [most, *apart])
            if math.isnan(most):
                return "nan"
    return None if most is None else f"{most:.6g}" if isinstance(most, float) else str(most)


def _apart(one: float, other: float) -> float:
    return 0 if one == other or (math.isnan(one) and math.isnan(other)) else abs(one - other)


def _values(dtype: str, raw: bytes) -> Sequence[float] | None:
    if dtype in _CODES:
        count = len(raw) // struct.calcsize(f"<{_CODES[dtype]}")
        return struct.unpack(f"<{count}{_CODES[dtype]}", raw)
    if dtype == "BF16":  # the upper half of an F32
        wide = bytearray(2 * len(raw))
        wide[2::4], wide[3::4] = raw[0::2], raw[1::2]
        return struct.unpack(f"<{len(raw) // 2}f", wide)
    return None


def _differing(a: _Bytes, b: _Bytes) -> Iterator[tuple[bytes, bytes]]:
    """The blocks of `a` and `b`, which are of one size, that differ."""
    for at in range(0, a.size, _BLOCK_BYTES):
        x, y = a.read(at, _BLOCK_BYTES), b.read(at, _BLOCK_BYTES)
        if len(x) != len(y):
            raise Refused("file-changed", "a file changed while it was read", hint=_AGAIN)
        if x != y:
            yield x, y


@contextmanager
def _opened(path: Path, found: Found) -> Iterator[_Bytes]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as err:
        raise Unavailable("file-unreadable", f"cannot read `{path}`: {err.strerror}") from err
    try:
        yield _Bytes(descriptor, 0, found.size)
    except OSError as err:
        raise Unavailable("file-unreadable", f"cannot read `{path}`: {err.strerror}") from err
    finally:
        os.close(descriptor)
