"""Append to a log whose word nobody takes: a record is there once the quorum of witnesses has it.

A log that was taken over says that it has a record, and drops it: the one that says FAILED, for whoever is to run the evaluation
again until it passes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from keyturn.app.records.await_witnessed import await_witnessed
from keyturn.formats.records import leaf_of
from keyturn.ports import Clock, LogReader, LogWriter, Pause
from keyturn.trust.roster import TrustState

__all__ = ["WitnessedWriter"]


class _Log(LogReader, LogWriter, Protocol):
    pass


class WitnessedWriter:
    """`ports.LogWriter`: `append` returns when the record is in force, and raises `Unavailable` when it is not in time."""

    def __init__(
        self, log: _Log, *, trust: Callable[[], TrustState], clock: Clock, pause: Pause, deadline_s: float
    ) -> None:
        self._log = log
        self._trust = trust
        self._clock = clock
        self._pause = pause
        self._deadline_s = deadline_s

    def append(self, envelope: bytes) -> int:
        leaf, index = leaf_of(envelope), self._log.append(envelope)
        trust = self._trust()
        await_witnessed(
            self._log,
            index=index,
            leaf=leaf,
            log=trust.log,
            limits=trust.limits,
            clock=self._clock,
            pause=self._pause,
            deadline_s=self._deadline_s,
        )
        return index
