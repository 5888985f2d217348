"""Read JSON of others so that every reader reads the same in it: an object with a field twice is refused.

Readers differ in which of the two they take. What verifies a bundle here is more than one library, and each reads
the bytes again.

This is NOT canonical JSON (`formats.canonical_json`): what others wrote keeps its white space and its order.
"""

from __future__ import annotations

import json
from typing import Any

__all__ = ["DECODER", "loads"]


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"an object has the field `{twice[:80]}` twice")
    return found


DECODER = json.JSONDecoder(object_pairs_hook=_once)


def loads(raw: bytes | str) -> Any:
    """The value of `raw`; raises `ValueError` or `RecursionError` for what is none, or has a field twice."""
    return json.loads(raw, object_pairs_hook=_once)
