"""Say which targets version was in force at a place in the log: the newest that was logged before it.

"Then" is a place in the log, never a time or a version that a record claims for itself: whoever writes a record could
name an older version, under which a removed builder was still allowed.

This is NOT where trust is verified: `trust.history` does, and its states come in here.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass

from keyturn.errors import Malformed
from keyturn.formats import trust_version
from keyturn.trust.history import TrustHistory
from keyturn.trust.roster import TrustState
from keyturn.trust.void import NOTHING_VOID, VoidEntries

__all__ = ["TrustTimeline", "follow"]


@dataclass(frozen=True, slots=True)
class TrustTimeline:
    """`states[i]` is in force for every record after log index `indices[i]`, up to the next one's."""

    indices: tuple[int, ...]
    states: tuple[TrustState, ...]

    def __post_init__(self) -> None:
        if len(self.indices) != len(self.states) or list(self.indices) != sorted(set(self.indices)):
            raise Malformed("timeline-order", "timeline: expected one rising log index for each trust state")

    @property
    def void(self) -> VoidEntries:
        """The entries that the lab declared void, by the newest version."""
        found = NOTHING_VOID
        for index, state in zip(self.indices, self.states, strict=True):
            found = found.after(state.void, at=index)
        return found

    def before(self, index: int) -> TrustState | None:
        """The state in force for the record at `index`; `None` before the first."""
        place = bisect_left(self.indices, index)
        return self.states[place - 1] if place else None


def follow(history: TrustHistory, records: Iterable[tuple[int, bytes]]) -> tuple[TrustHistory, TrustTimeline]:
    """Advance `history` (started from a pinned root) through the trust versions `(log index, container)`, in log order.

    A version that is skipped, rolled back or not signed by its threshold changes nothing; two signed texts of one version are
    `Tampered`.
    """
    indices: list[int] = []
    states: list[TrustState] = []
    for index, raw in records:
        history = history.followed_by(trust_version.parse(raw))
        state = history.at(history.targets_version)
        # A new root alters the newest state too (its publishers, its expiry), so each version is a point of its own.
        if state is not None:
            indices.append(index)
            states.append(state)
    return history, TrustTimeline(tuple(indices), tuple(states))
