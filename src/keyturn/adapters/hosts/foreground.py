"""Run a program in the place of this one: its terminal, its signals, its exit status.

Keys that interrupt (Ctrl-C, Ctrl-\\) are for the program, which has them of the terminal itself. Whoever ends this process, or
hangs up, ends the program: no session goes on behind somebody who has ended it.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping, Sequence
from types import FrameType

__all__ = ["run_in_foreground"]

_THE_PROGRAMS_OWN = (signal.SIGINT, signal.SIGQUIT)
_HANDED_ON = (signal.SIGTERM, signal.SIGHUP)


def run_in_foreground(words: Sequence[str], *, env: Mapping[str, str] | None = None) -> int:
    """Run `words` to the end; gives the exit status as a shell has it. Raises `OSError` when it could not be started.

    Of the main thread alone, as signals are.
    """
    child: subprocess.Popen[bytes] | None = None
    early: list[int] = []

    def hand_on(number: int, _frame: FrameType | None) -> None:
        if child is None:
            early.append(number)
        else:
            child.send_signal(number)

    # INVARIANT: before it is started, or what ends this process meanwhile would leave it behind. Handlers, and not SIG_IGN, which
    # the program would inherit.
    before = [(one, signal.signal(one, lambda *_: None)) for one in _THE_PROGRAMS_OWN]
    before += [(one, signal.signal(one, hand_on)) for one in _HANDED_ON]
    try:
        child = subprocess.Popen(words, env=env)
        for number in early:
            child.send_signal(number)
        status = child.wait()
    finally:
        for one, handler in before:
            signal.signal(one, handler)
    return status if status >= 0 else 128 - status
