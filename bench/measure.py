"""Measure ratios: ours and a peer in turns, in one run, so that a loaded or slow machine moves both.

    found = paired(lambda: verify_grant(...), lambda: raw_checks(...), rounds=15)
    row("verify_grant / raw checks", found.ratio, "x", at_most=1.4, peer="4 Ed25519 checks + 1 Cedar evaluation",
        spread=found.spread)

A ratio's value is the median over the rounds, and its spread the distance between its quartiles, in the same unit.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["Paired", "Row", "median_and_spread", "paired", "percentile", "row", "seconds"]

Row = dict[str, str | float | bool | None]
"""{name, value, unit, goal, holds, peer, spread}: one line of the table, and of bench-out/results.json."""

WORTH_TIMING_S = 0.02


@dataclass(frozen=True, slots=True)
class Paired:
    """Ours against a peer: the median of ours / peer, its spread, and the median seconds of one call of each."""

    ratio: float
    spread: float
    ours_s: float
    peer_s: float

    @property
    def rate_ratio(self) -> float:
        """The same as a ratio of rates: above 1 is faster than the peer."""
        return 1 / self.ratio


def paired(ours: Callable[[], object], peer: Callable[[], object], *, rounds: int, calls: int | None = None) -> Paired:
    """Time `ours` and `peer` in turns, `rounds` times, changing who goes first; each turn is `calls` calls.

    Without `calls`, each gets as many as fill `WORTH_TIMING_S`.
    """
    ours_calls = calls or _calls_worth_timing(ours)
    peer_calls = calls or _calls_worth_timing(peer)
    ratios, ours_s, peer_s = [], [], []
    with _quiet():
        for number in range(rounds):
            if number % 2:
                theirs = seconds(peer, calls=peer_calls)
                own = seconds(ours, calls=ours_calls)
            else:
                own = seconds(ours, calls=ours_calls)
                theirs = seconds(peer, calls=peer_calls)
            ratios.append(own / theirs)
            ours_s.append(own)
            peer_s.append(theirs)
    ratio, spread = median_and_spread(ratios)
    return Paired(ratio, spread, statistics.median(ours_s), statistics.median(peer_s))


def seconds(call: Callable[[], object], *, calls: int) -> float:
    """Give the mean seconds of one of `calls` calls."""
    begin = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - begin) / calls


def median_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """Give the median, and the distance between the quartiles."""
    if len(values) < 2:
        return values[0], 0.0
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return middle, high - low


def percentile(values: Sequence[float], percent: int) -> float:
    """Give the value that `percent` % of `values` do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def row(
    name: str,
    value: float,
    unit: str,
    *,
    at_most: float | None = None,
    at_least: float | None = None,
    peer: str = "",
    spread: float = 0.0,
) -> Row:
    """Make one row; without a bound it is for information, and `holds` is None."""
    if at_most is not None and at_least is not None:
        raise ValueError("expected one bound: at_most or at_least")
    goal, holds = "", None
    if at_most is not None:
        goal, holds = f"<= {at_most:,g}", value <= at_most
    if at_least is not None:
        goal, holds = f">= {at_least:,g}", value >= at_least
    return {"name": name, "value": value, "unit": unit, "goal": goal, "holds": holds, "peer": peer, "spread": spread}


def _calls_worth_timing(call: Callable[[], object]) -> int:
    once = seconds(call, calls=1)  # also warms it up
    once = min(once, seconds(call, calls=1))
    return max(1, int(WORTH_TIMING_S / max(once, 1e-9)))


@contextmanager
def _quiet() -> Iterator[None]:
    was = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
