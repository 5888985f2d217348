"""Declare void, in the draft, log entries that nobody can read: what somebody left who had the log for a moment.

Readers are closed for whatever such an entry may concern, since nobody knows what it says. A threshold of people can say that it
says nothing: they sign the entries, by number, as a part of the next targets version (`log.toml`). What a reader can read counts
all the same, so this takes nothing back that anybody signed and the log still has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from keyturn.app.verify_log import Fault, read_log
from keyturn.errors import Refused
from keyturn.ports import Clock, LogReader, TrustStore
from keyturn.trust.draft import Draft
from keyturn.trust.roster import TrustState

__all__ = ["closing", "void_hidden"]


def closing(
    reader: LogReader, *, trust: TrustState, clock: Clock, progress: Callable[[int], None]
) -> tuple[Fault, ...]:
    """The entries of the witnessed log that cannot be read, close something, and are not void under `trust`."""
    found = read_log(reader, trust=trust, clock=clock, progress=progress)
    return tuple(fault for fault in found.faults if fault.stands)


def void_hidden(chosen: Sequence[Fault], *, named: Sequence[range], store: TrustStore) -> None:
    """Add `chosen` to the void entries of the draft; `Refused` when `named` has an entry that is none of them."""
    indices = {fault.index for fault in chosen}
    other = next((index for few in named for index in few if index not in indices), None)
    if other is not None or not indices:
        which = "no entry" if other is None else f"entry {other}"
        raise Refused(
            "trust-void-readable",
            f"expected entries that cannot be read and close something, got {which}",
            hint="keyturn trust void lists them",
        )
    files = store.draft()
    draft = Draft.parse(files)
    void = _joined((*draft.contents.void, *(range(index, index + 1) for index in indices)))
    rendered = Draft(draft.root, replace(draft.contents, void=void)).render()
    # Only what this changes is written anew: people's comments in the other files stay.
    store.swap_draft(files, {**files, "log.toml": rendered["log.toml"]})


def _joined(entries: Iterable[range]) -> tuple[range, ...]:
    joined: list[range] = []
    for one in sorted(entries, key=lambda one: one.start):
        if joined and one.start <= joined[-1].stop:
            joined[-1] = range(joined[-1].start, max(one.stop, joined[-1].stop))
        else:
            joined.append(one)
    return tuple(joined)
