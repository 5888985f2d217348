"""Hold a gate's clock against what the witnesses said the time was, and against how long this machine ran since.

Whoever withholds the log and sets the clock back again and again would have a view, and every window, stay as young as it was. A
counter that nobody sets says how much time has gone at least: a clock that lost more of it than targets allow is wrong.
"""

from __future__ import annotations

from keyturn.errors import Refused
from keyturn.grants.view import GateView
from keyturn.ports import Clock, Running

__all__ = ["ClockRuns"]


class ClockRuns:
    """What one gate knows of the time. `running` counts on from the machine's start."""

    def __init__(self, clock: Clock, running: Running) -> None:
        self._clock = clock
        self._running = running
        self._ahead_s: float | None = None

    def saw(self, view: GateView) -> None:
        """Learn from the witnesses' time of the newest checkpoint of `view`, which was read just now or before."""
        if view.checkpoint is not None:
            ahead_s = view.checkpoint.cosigned_at - self._running()
            # INVARIANT: a checkpoint that was held back says nothing newer, and takes nothing of what is known.
            self._ahead_s = ahead_s if self._ahead_s is None else max(self._ahead_s, ahead_s)

    def require(self, view: GateView) -> None:
        """Refuse when the clock is behind the least that the time can be, by more than the targets of `view` allow."""
        trust = view.known.newest
        if self._ahead_s is None or trust is None:
            return  # whoever decides by such a view refuses it by name
        behind_s = int(self._ahead_s + self._running()) - self._clock.now()
        if behind_s > trust.limits.clock_skew_max_s:
            raise Refused(
                "clock-skew",
                f"this clock is {behind_s} s behind the witnesses' time and what has gone since, expected at most "
                f"{trust.limits.clock_skew_max_s} s",
                hint="set this machine's clock, and find out who set it back",
            )
