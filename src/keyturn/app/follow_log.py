"""Follow the log with a gate's view, up to its newest witnessed checkpoint: read the leaves, fetch what the view needs.

Memory is flat: leaves come in runs of `RUN`. An envelope that cannot be had is left out, and the view then knows that it does not
know; the next time it begins at the first leaf again, so that what was lost for a moment is not lost for good.

This is NOT belief: `grants.view` verifies every leaf and envelope, and the checkpoint over all of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from keyturn.errors import Unavailable
from keyturn.formats import checkpoint as checkpoints
from keyturn.formats import note as notes
from keyturn.formats.digest import Sha256
from keyturn.grants.following import Following
from keyturn.grants.view import GateView
from keyturn.ports import LogReader

__all__ = ["follow_log"]

RUN = 4096


def follow_log(view: GateView, reader: LogReader, *, now: int) -> GateView:
    """The view after everything that the log shows under its newest checkpoint.

    Raises `Unavailable` when the log does not answer, `Refused` or `Tampered` when what it shows is not believed; then
    `view` is as it was, and goes stale.
    """
    note = reader.checkpoint()
    size = checkpoints.parse_body(notes.parse(note).text).size
    before = view.again() if view.known.unread else view
    read = before.following(now=now)
    while read.frontier.size < size:
        leaves = reader.leaves(read.frontier.size, min(read.frontier.size + RUN, size))
        if not leaves:
            raise Unavailable("log-range", f"the log gave no leaves after {read.frontier.size} of {size}")
        read.take(leaves, _envelopes(read, leaves, reader))
    return before.finish(read, note, now=now)


def _envelopes(read: Following, leaves: Sequence[bytes], reader: LogReader) -> dict[Sha256, bytes]:
    found = {}
    for digest in read.needed(leaves):
        try:
            found[digest] = reader.envelope(digest)
        except Unavailable:
            continue  # the view notes what it could not read
    return found
