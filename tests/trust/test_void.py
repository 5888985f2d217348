"""Which entries are void: those that a version named once they stood in the log, for as long as versions name them."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from keyturn.trust.void import NOTHING_VOID, joined, without

RUNS = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 6)), max_size=5).map(
    lambda found: joined(range(start, start + length) for start, length in found)
)


@given(st.lists(st.tuples(RUNS, st.integers(1, 5)), max_size=6))
def test_void_is_what_was_named_behind_its_entry_and_ever_since(versions: list[tuple[tuple[range, ...], int]]) -> None:
    found, at = NOTHING_VOID, 0
    void: set[int] = set()
    seen: set[int] = set()
    for named, later in versions:
        at += later
        entries = {index for run in named for index in run}
        void = {index for index in entries if index in void or (index < at and index not in seen)}
        seen = entries
        found = found.after(named, at=at)
        assert {index for index in range(40) if index in found} == void


@given(RUNS)
def test_joined_runs_are_in_order_and_apart(runs: tuple[range, ...]) -> None:
    assert all(a.stop < b.start for a, b in pairwise(runs))


@given(RUNS, RUNS)
def test_runs_without_others_are_the_entries_of_the_one_alone(
    runs: tuple[range, ...], others: tuple[range, ...]
) -> None:
    left = {index for run in runs for index in run} - {index for run in others for index in run}
    assert {index for run in without(runs, others) for index in run} == left
