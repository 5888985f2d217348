"""Join void entries to this machine: the lab's log as it can be read here, held against what is declared or shall be signed."""

from __future__ import annotations

from collections.abc import Callable

from keyturn.adapters.clock import SystemClock
from keyturn.app.log.verify_log import Fault
from keyturn.app.trust.show_trust import Shown
from keyturn.app.trust.void_hidden import closing, require_hidden
from keyturn.trust.history import TrustHistory
from keyturn.trust.void import without
from keyturn.wiring.lab.places import LabPlace
from keyturn.wiring.log.log import log_reader, trust_behind

__all__ = ["entries_that_close", "newly_void"]


def entries_that_close(place: LabPlace, *, progress: Callable[[int], None]) -> tuple[Fault, ...]:
    """The entries of the lab's log that cannot be read and close something."""
    return _found(place, progress=progress)[1]


def newly_void(place: LabPlace, shown: Shown) -> tuple[Fault, ...]:
    """The entries that what is `shown` declares void and what is in force does not; `Refused` when any of them can be read."""
    proposed = next((version.state for version in shown.versions if version.state is not None), None)
    if proposed is None or not proposed.void:
        return ()
    history, found = _found(place, progress=lambda count: None)
    named = without(proposed.void, history.newest.void)
    require_hidden(named, found=found)
    return tuple(fault for fault in found if any(fault.index in few for few in named))


def _found(place: LabPlace, *, progress: Callable[[int], None]) -> tuple[TrustHistory, tuple[Fault, ...]]:
    with log_reader(place) as reader:
        history = trust_behind(place, reader)
        return history, closing(reader, history=history, clock=SystemClock(), progress=progress)
