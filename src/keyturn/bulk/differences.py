"""Say how two lists of files differ: which are missing, extra or changed, the first of them by name, and how many more.

What is compared is whatever the caller has of each file: its status, its digest. A list of a million files is read by nobody: it
has an end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice

__all__ = ["SHOWN_MAX", "differences"]

SHOWN_MAX = 20


def differences(expected: Mapping[str, object], found: Mapping[str, object], *, extra: bool = True) -> tuple[str, ...]:
    """A sentence for each file, by path, that is not in both or not the same; `extra` says whether more files are wrong, too."""
    all_of_them = _all(expected, found, extra=extra)
    shown = tuple(islice(all_of_them, SHOWN_MAX))
    more = sum(1 for _ in all_of_them)
    return (*shown, f"and {more} more") if more else shown


def _all(expected: Mapping[str, object], found: Mapping[str, object], *, extra: bool) -> Iterator[str]:
    for path in sorted(expected.keys() | found.keys()):
        if path not in found:
            yield f"missing: {path!r}"
        elif path not in expected:
            if extra:
                yield f"extra: {path!r}"
        elif expected[path] != found[path]:
            yield f"changed: {path!r}"
