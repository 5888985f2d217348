"""Find out in the log whether a release that the gate made was taken back since, however long ago: what hands out kept packs.

A gate's view forgets a revocation once its `until` is over, since an ordinary grant is over by then too. A release has no such
end (docs/decisions/0124-withdrawn-releases.md), so the log is read on from where the pack ends, as `keyturn release check` does.
"""

from __future__ import annotations

from keyturn.bulk.read_chain import AUTHORITY_KINDS
from keyturn.bulk.read_withdrawals import entries_about, leaves_since
from keyturn.errors import Tampered
from keyturn.formats import pack_members, records
from keyturn.formats.pack import Pack
from keyturn.grants.known import Withdrawal
from keyturn.grants.view import GateView
from keyturn.grants.withdrawn import Entry, withdrawn
from keyturn.ports import LogReader
from keyturn.tlog.frontier import Frontier
from keyturn.trust.history import TrustHistory

__all__ = ["taken_back"]


def taken_back(
    pack: Pack, request: bytes, log: LogReader, view: GateView, *, start: TrustHistory, now: int
) -> tuple[Withdrawal, ...]:
    """Who took the release of `request` back, first to last, in the log that the fresh `view` is of.

    `pack` is one that the gate signed itself, and is not verified again. Raises `Unavailable` for what could take it back and
    cannot be read, `Tampered` when the log is not the one of the view.
    """
    members = pack.members
    frontier = Frontier(*pack_members.parse_frontier(members[pack_members.FRONTIER])).extend(
        pack_members.parse_leaves(members[pack_members.LEAVES])
    )
    entries = []
    for name, raw in sorted(members.items()):
        place = pack_members.record_index(name)
        if place is not None and (leaf := records.leaf_of(raw)).kind in AUTHORITY_KINDS:
            entries.append(Entry(place, leaf, raw))
    for leaves, found in leaves_since(log, frontier.size, view.frontier.size, request=records.leaf_of(request).record):
        frontier = frontier.extend(leaves)
        entries += entries_about(log, found)
    if frontier != view.frontier:
        raise Tampered("log-other-leaves", "the log showed other leaves than those of the gate's view")
    return withdrawn(request, entries, history=start, now=now).by
