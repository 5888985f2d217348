"""Walk a graph of artifacts and statements breadth first: what descends from a thing, and by which shortest path.

A node is a number: not negative is the statement at that place in the log, negative an artifact or another name
(`custody.linked`). Whoever has the graph gives the links of a whole level at once, so that one that lies on disk is asked
seldom. Nothing recurses: a chain of any length is followed.

This is NOT where links come from, nor whether they are true: `custody.linked` makes them of statements that were verified.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["Links", "Walk", "walk"]

Links = Callable[[Sequence[int]], Iterable[tuple[int, int]]]
"""The links (from, to) that go on from each of these nodes, always in the same order."""


@dataclass(frozen=True, slots=True)
class Walk:
    """Every node that was reached, nearest first, with the one before it on a shortest path; a start is before itself."""

    via: Mapping[int, int]
    ends: tuple[int, ...]
    """Those from which nothing goes on."""
    whole: bool
    """Whether the walk came to its end, and not to a bound."""

    def path(self, node: int) -> tuple[int, ...]:
        """A shortest path from a start to `node`, both included."""
        found = [node]
        while (before := self.via[found[-1]]) != found[-1]:
            found.append(before)
        return tuple(reversed(found))


def walk(starts: Iterable[int], onward: Links, *, levels_max: int | None = None, nodes_max: int | None = None) -> Walk:
    """Go on from `starts` along `onward`, at most `levels_max` links far, and until `nodes_max` nodes were reached."""
    via = {start: start for start in starts}
    level, levels, whole = list(via), 0, True
    ends: list[int] = []
    while level:
        if levels == levels_max or (nodes_max is not None and len(via) >= nodes_max):
            whole = False
            break
        reached: list[int] = []
        leading: set[int] = set()
        for source, target in onward(level):
            leading.add(source)
            if target not in via:
                via[target] = source
                reached.append(target)
        ends += [node for node in level if node not in leading]
        level, levels = reached, levels + 1
    return Walk(MappingProxyType(via), tuple(ends), whole)
