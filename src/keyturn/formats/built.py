"""Let one thread at a time teach msgspec a type.

msgspec works out what it must know of a type when something is first decoded or converted into it, and hangs that on the class
before it is whole. A second thread that decodes into the same type just then reads what is not there yet, and the process
crashes: seen with msgspec 0.22.0, where two threads began to verify a pack. So a type that several threads decode into is
`built` by whoever comes first, while the others wait; once it is whole, msgspec's decoders are safe to share.
"""

from __future__ import annotations

from threading import Lock
from typing import Any, TypeVar

import msgspec

__all__ = ["built"]

T = TypeVar("T")

_building = Lock()
_whole: set[Any] = set()


def built(kind: T) -> T:
    """Give `kind` (a type, or what `Annotated` makes of one) when msgspec knows all of it."""
    if kind not in _whole:
        with _building:
            msgspec.json.Decoder(kind)
            _whole.add(kind)
    return kind
