"""Apply a pure function to many items on all cores, with threads: for work that releases the interpreter's lock.

Signature verification (cryptography) and hashing of large buffers (hashlib, blake3) do. `on_all_cores` fits
`custody.evidence.Map`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["cores", "on_all_cores"]

A = TypeVar("A")
B = TypeVar("B")


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0))


def on_all_cores(function: Callable[[A], B], items: Sequence[A], /) -> Iterable[B]:
    """Give `function(item)` for each of `items`, in their order; the first exception is raised."""
    threads = min(cores(), len(items))
    if threads <= 1:
        return [function(item) for item in items]
    with ThreadPoolExecutor(threads, thread_name_prefix="keyturn-bulk") as pool:
        return list(pool.map(function, items))
