"""Declare void, in the draft, log entries that nobody can read: what somebody left who had the log for a moment.

Readers are closed for whatever such an entry may concern, since nobody knows what it says. A threshold of people can say that it
says nothing: they sign the entries, by number, as a part of the next targets version (`log.toml`). What a reader can read counts
all the same, so this takes nothing back that anybody signed and the log still has.

Whoever signs looks into the log himself (`require_hidden`): the numbers that somebody else wrote down could be those of what
stands there and shall be hidden later, or of what is to come. A trust version that he has and the log lost is none to give up:
readers from whom it is hidden would go on without it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from keyturn.app.log.verify_log import Fault, read_log
from keyturn.errors import Refused
from keyturn.formats.records import record_id
from keyturn.ports import Clock, LogReader, TrustStore
from keyturn.trust.draft import Draft
from keyturn.trust.history import TrustHistory
from keyturn.trust.void import joined

__all__ = ["closing", "require_hidden", "void_hidden"]


def closing(
    reader: LogReader, *, history: TrustHistory, clock: Clock, progress: Callable[[int], None]
) -> tuple[Fault, ...]:
    """The entries of the witnessed log that cannot be read, close something, and are not void under the newest of `history`."""
    found = read_log(reader, history=history, clock=clock, progress=progress)
    ours = {record_id("rot" if link.role == "root" else "tgt", link.digest) for link in history.links}
    return tuple(replace(fault, what="lost") if fault.id in ours else fault for fault in found.faults if fault.stands)


def require_hidden(named: Sequence[range], *, found: Sequence[Fault]) -> None:
    """Refuse `named` entries, unless each is one of those `found` by `closing` that may be given up."""
    by_index = {fault.index: fault for fault in found}
    for index in (index for few in named for index in few):
        fault = by_index.get(index)
        if fault is None:
            raise _readable(f"entry {index}")
        if fault.what == "lost":
            raise Refused(
                "trust-void-lost",
                f"entry {index} is the trust version {fault.id}, which this lab has: readers would go on without it",
                hint="put its envelope back into the log: lab/trust/versions has it",
            )


def void_hidden(chosen: Sequence[Fault], *, named: Sequence[range], store: TrustStore) -> None:
    """Add `chosen` to the void entries of the draft; `Refused` when `named` has an entry that is none of them."""
    if not chosen:
        raise _readable("no entry")
    indices = [range(fault.index, fault.index + 1) for fault in chosen]
    require_hidden((*named, *indices), found=chosen)
    files = store.draft()
    draft = Draft.parse(files)
    void = joined((*draft.contents.void, *indices))
    rendered = Draft(draft.root, replace(draft.contents, void=void)).render()
    # Only what this changes is written anew: people's comments in the other files stay.
    store.swap_draft(files, {**files, "log.toml": rendered["log.toml"]})


def _readable(which: str) -> Refused:
    return Refused(
        "trust-void-readable",
        f"expected entries that cannot be read and close something, got {which}",
        hint="keyturn trust void lists them",
    )
