"""Join erasing to this machine: what the lab's tombstones ask for, and whoever keeps its log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from keyturn.adapters.clock import SystemClock
from keyturn.adapters.log_on_disk.erasing import LogOnDiskEraser
from keyturn.app.log.verify_log import read_log
from keyturn.app.oversight.erase_records import Asked, Erasable, asked_for, erase, find_erasable
from keyturn.errors import Usage
from keyturn.ports import LogEraser
from keyturn.wiring.access.grants import Viewed
from keyturn.wiring.lab.places import LabPlace
from keyturn.wiring.log.log import lab_index
from keyturn.wiring.log.store import eraser_in, store_of, typed_store

__all__ = ["all_asked", "erasable", "erase_all"]


def erasable(seen: Viewed, text: str) -> Erasable:
    """The record that `text` names, if it may be erased now."""
    with lab_index(seen.place) as index:
        return find_erasable(seen.reader, index, seen.view.known, text, now=seen.now)


def all_asked(seen: Viewed, *, progress: Callable[[int], None]) -> tuple[Asked, ...]:
    """What every tombstone of the witnessed log asks for, and what became of it."""
    whole = read_log(seen.reader, history=seen.view.trust, clock=SystemClock(), progress=progress)
    with lab_index(seen.place) as index:
        return tuple(asked_for(seen.reader, index, whole, seen.view.known, seen.trust, now=seen.now))


def erase_all(seen: Viewed, due: list[Asked], *, owner: str | None) -> int:
    """Erase what is `due` where the lab's log lies, and give how many envelopes went; as `owner` in its database."""
    with _eraser(seen.place, owner) as keeper:
        return erase(due, seen.reader, keeper)


@contextmanager
def _eraser(place: LabPlace, owner: str | None) -> Iterator[LogEraser]:
    if store_of(place.directory) is None:
        if owner is not None:
            raise Usage("log-owner", "this lab's log lies on disk, and has no owner", hint="leave out --owner")
        yield LogOnDiskEraser(place.directory / "log")
        return
    if owner is None:
        raise Usage(
            "log-owner",
            "this lab's log is in PostgreSQL, where the service's role alters nothing",
            hint="keyturn log erase --owner postgresql://OWNER@HOST/DATABASE",
        )
    with eraser_in(typed_store(owner)) as keeper:
        yield keeper
