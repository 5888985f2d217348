"""Follow the log with a view, up to its newest witnessed checkpoint: read the leaves, fetch what the view needs.

Memory is flat: leaves come in runs of `RUN`. An envelope that cannot be had is left out, and the view then knows that it does not
know. The next time it is asked for again; once it can be had, the view begins at the first leaf again: what was lost for a moment
is not lost for good, and what is hidden for long costs a question, and not the log.

INVARIANT: a view that begins again ends as the same log: what it had read before must hash to the same root, and a change of
witnesses or log key still needs the old quorum and the new. Otherwise hiding one envelope would make a gate forget.

This is NOT belief: `grants.view` verifies every leaf and envelope, and the checkpoint over all of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from keyturn.errors import KeyturnError, Tampered, Unavailable
from keyturn.formats import checkpoint as checkpoints
from keyturn.formats import note as notes
from keyturn.formats.digest import Sha256, sha256
from keyturn.grants.following import Following
from keyturn.grants.view import GateView
from keyturn.ports import LogReader

__all__ = ["follow_log"]

RUN = 4096
ASKED_AGAIN_MAX = 64
_NEWEST = _OLDER = ASKED_AGAIN_MAX // 2


def follow_log(view: GateView, reader: LogReader, *, now: int, ask_again: bool = True) -> GateView:
    """The view after everything that the log shows under its newest checkpoint.

    `ask_again`: whether to look for envelopes that were missing before; who polls does not, each time.

    Raises `Unavailable` when the log does not answer or shows less than before, `Refused` or `Tampered` when what it shows is
    not believed; then `view` is as it was, and goes stale.
    """
    note = reader.checkpoint()
    size = checkpoints.parse_body(notes.parse(note).text).size
    seen = view.frontier
    if size < seen.size:
        raise Unavailable("log-behind", f"the log shows {size} entries, and {seen.size} were seen before")
    again = ask_again and _can_be_had_now(view, reader, now)
    read = (view.again() if again else view).following(now=now)
    while (start := read.frontier.size) < size:
        end = min(start + RUN, seen.size if start < seen.size else size)
        leaves = reader.leaves(start, end)
        if not 0 < len(leaves) <= end - start:
            raise Unavailable("log-range", f"expected leaves {start} to {end} of {size}, got {len(leaves)}")
        read.take(leaves, _envelopes(read, leaves, reader))
        if read.frontier.size == seen.size and read.frontier.root != seen.root:
            raise Tampered(
                "log-fork",
                f"the first {seen.size} leaves hash to another root than when they were read before",
                hint="keep both, and compare with another gate: the log shows different leaves to different readers",
            )
    return view.finish(read, note, now=now)


def _can_be_had_now(view: GateView, reader: LogReader, now: int) -> bool:
    """Whether any envelope can be had that could not before; of many, the newest are asked for, and some of the others.

    Which others changes with `now`: whoever had the log for a moment can leave any number of leaves in it whose envelopes
    nobody has, and those must not keep what can be had again from being found.
    """
    missing = [one.envelope for one in view.known.hidden.values() if one.envelope is not None and not one.erased]
    older, asked = missing[:-_NEWEST], missing[-_NEWEST:]
    if older:
        runs = -(-len(older) // _OLDER)
        first = int(sha256(str(now).encode()), 16) % runs * _OLDER
        asked += older[first : first + _OLDER]
    for digest in asked:
        try:
            reader.envelope(digest)
        except KeyturnError:
            continue
        return True
    return False


def _envelopes(read: Following, leaves: Sequence[bytes], reader: LogReader) -> dict[Sha256, bytes]:
    found = {}
    for digest in read.needed(leaves):
        try:
            found[digest] = reader.envelope(digest)
        except KeyturnError:
            continue  # the view notes what it could not read: whoever it concerns is "could not find out"
    return found
