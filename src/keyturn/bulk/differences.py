"""Say how two lists of files differ: which are missing, extra or changed, the first of them by name, and how many more.

What is compared is whatever the caller has of each file: its status, its digest. A list of a million files is read by nobody: it
has an end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

__all__ = ["differences", "shown"]

_SHOWN_MAX = 20


def differences(expected: Mapping[str, object], found: Mapping[str, object], *, extra: bool = True) -> tuple[str, ...]:
    """A sentence for each file, by path, that is not in both or not the same; `extra` says whether more files are wrong, too."""
    return shown(_all(expected, found, extra=extra))


def shown(sentences: Iterable[str]) -> tuple[str, ...]:
    """The first of `sentences`, and how many more there are."""
    rest = iter(sentences)
    first = tuple(islice(rest, _SHOWN_MAX))
    more = sum(1 for _ in rest)
    return (*first, f"and {more} more") if more else first


def _all(expected: Mapping[str, object], found: Mapping[str, object], *, extra: bool) -> Iterator[str]:
    for path in sorted(expected.keys() | found.keys()):
        if path not in found:
            yield f"{path!r} is missing"
        elif path not in expected:
            if extra:
                yield f"{path!r} is extra"
        elif expected[path] != found[path]:
            yield f"{path!r} changed"
