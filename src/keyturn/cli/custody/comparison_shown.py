"""Show what `bulk.compare` found: a line for each file, and for each tensor of a safetensors file that differs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keyturn.bulk.compare import FileDifference, TensorDifference

__all__ = ["as_json", "lines"]

_SAID = {"same": "same", "differs": "DIFFERS", "only-first": "only in the first", "only-second": "only in the second"}


def lines(found: Sequence[FileDifference]) -> list[str]:
    """The files in order; of one that differs every tensor, and in the end how many were the same."""
    shown = []
    for file in found:
        shown.append(f"{_SAID[file.verdict]:18} {file.path}{_sizes(file)}{f': {file.note}' if file.note else ''}")
        shown += [f"  {_SAID[one.verdict]:18} {one.name}  {_types(one)}" for one in file.tensors]
    alike = sum(file.verdict == "same" for file in found)
    return [*shown, f"{alike} of {len(found)} files are the same"]


def as_json(found: Sequence[FileDifference]) -> dict[str, Any]:
    """The same, as one JSON value."""
    return {
        "same": all(file.verdict == "same" for file in found),
        "files": [
            {
                "path": file.path,
                "verdict": file.verdict,
                "bytes": [file.first_bytes, file.second_bytes],
                "note": file.note,
                "tensors": [
                    {
                        "name": one.name,
                        "verdict": one.verdict,
                        "first": one.first,
                        "second": one.second,
                        "max_abs": one.max_abs or None,
                    }
                    for one in file.tensors
                ],
            }
            for file in found
        ],
    }


def _sizes(file: FileDifference) -> str:
    return (
        "" if file.first_bytes == file.second_bytes else f"  {_bytes(file.first_bytes)} and {_bytes(file.second_bytes)}"
    )


def _bytes(size: int | None) -> str:
    return "none" if size is None else f"{size:,} bytes"


def _types(one: TensorDifference) -> str:
    kinds = (
        one.first or one.second
        if "" in (one.first, one.second) or one.first == one.second
        else f"{one.first}, then {one.second}"
    )
    return kinds + (f"  by at most {one.max_abs}" if one.max_abs else "")
