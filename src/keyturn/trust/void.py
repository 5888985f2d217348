"""Which log entries a lab declared void, as whoever reads its log counts them (docs/decisions/0023-what-void-cannot-do.md).

A declaration is about entries that people found in the log: it counts for those that stand before the trust version that made it,
and never for one to come. Otherwise whoever talked people into a run that is too long could later hide a removal or a suspension
from every reader that begins anew. What was declared ahead counts once a version without it was published, and it is named again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["NOTHING_VOID", "VoidEntries", "joined", "without"]


@dataclass(frozen=True, slots=True)
class VoidEntries:
    """`named` is what the newest version declares; of that, `ahead` was declared before it was in the log."""

    named: tuple[range, ...] = ()
    ahead: tuple[range, ...] = ()

    def after(self, named: Sequence[range], *, at: int) -> VoidEntries:
        """What is void after the trust version at log index `at`, which declares `named`."""
        to_come = [range(max(run.start, at), run.stop) for run in named]
        still = [range(max(a.start, b.start), min(a.stop, b.stop)) for a in self.ahead for b in named]
        return VoidEntries(tuple(named), joined(run for run in (*to_come, *still) if run.start < run.stop))

    def __contains__(self, index: int) -> bool:
        return any(index in run for run in self.named) and not any(index in run for run in self.ahead)


NOTHING_VOID = VoidEntries()


def without(entries: Iterable[range], others: Iterable[range]) -> tuple[range, ...]:
    """The `entries` that are none of the `others`, in order."""
    left = joined(entries)
    for other in others:
        left = tuple(
            part
            for run in left
            for part in (range(run.start, min(run.stop, other.start)), range(max(run.start, other.stop), run.stop))
            if part
        )
    return left


def joined(entries: Iterable[range]) -> tuple[range, ...]:
    """The same entries in order, each once, in as few runs as there can be."""
    found: list[range] = []
    for one in sorted(entries, key=lambda one: one.start):
        if found and one.start <= found[-1].stop:
            found[-1] = range(found[-1].start, max(one.stop, found[-1].stop))
        else:
            found.append(one)
    return tuple(found)
