"""Say who took a release back after it, however long ago: every denial or revocation of its request that the log has.

A gate forgets what ended a request once the request would be over by itself. A release has no such end: the model runs on, so
what took it away counts for good, and only a new release gives it back.

What may take away is as at gates (`grants.following`, `grants.negatives`): a good signature, by somebody who may, unsuspended at
that place in the log. What cannot be read and could be a withdrawal is could-not-find-out, until the lab declares it void.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from keyturn.errors import KeyturnError, Unavailable
from keyturn.formats import records
from keyturn.formats.access import HumanAuthorization
from keyturn.formats.digest import Sha256, sha256
from keyturn.formats.leaf import Leaf
from keyturn.formats.negatives import Revocation
from keyturn.grants.following import Following
from keyturn.grants.known import Known, Withdrawal
from keyturn.tlog.frontier import Frontier
from keyturn.trust.history import TrustHistory

__all__ = ["Entry", "Withdrawn", "matters", "withdrawn"]

_TRUST = ("rot", "tgt")
_AUTHORITY = ("sus", "lft")
_TAKING = ("den", "rev")


@dataclass(frozen=True, slots=True)
class Entry:
    """A log entry: its leaf, and the record that it names; `None` when that could not be had."""

    index: int
    leaf: Leaf
    raw: bytes | None


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """The lab's trust after every entry, and who withdrew the release, first to last."""

    history: TrustHistory
    by: tuple[Withdrawal, ...]


def matters(leaf: Leaf, request: str) -> bool:
    """Whether `withdrawn` must see the entry of `leaf`."""
    if leaf.kind in _TRUST or leaf.kind in _AUTHORITY:
        return True
    return leaf.kind in _TAKING and f"request:{request}" in leaf.about


def withdrawn(request: bytes, entries: Iterable[Entry], *, history: TrustHistory, now: int) -> Withdrawn:
    """Read `entries` in log order, those that matter of the whole log, with `history` started from a pinned root.

    `request` is the envelope of the release request. Denials and revocations among the entries are taken as later than the
    release: the caller leaves out those from before it, with which no gate released. Raises `Unavailable` `withdrawal-unread`.
    """
    asked = records.leaf_of(request)
    read = Following(Known(history=history), Frontier.empty(), nonce_record=None, now=now)
    hidden: list[int] = []
    found: list[Withdrawal] = []
    begun = False
    for entry in entries:
        leaf, raw = entry.leaf, entry.raw
        if leaf.kind in _TRUST:
            read.take_if_watched(entry.index, leaf, raw)
            begun = begun or _takes(
                read, asked, request
            )  # it says who its parties are, under the first trust that knows them
        elif raw is None or sha256(raw) != leaf.envelope:
            # A suspension that cannot be read keeps nobody from taking away; without a lift, somebody who may could be unheard.
            hidden += [] if leaf.kind == "sus" else [entry.index]
        elif _takes(read, leaf, raw) and leaf.kind in _TAKING:
            found.append(_withdrawal(leaf, raw))
    known = read.known()
    for index in hidden:
        if index not in known.void:
            raise Unavailable(
                "withdrawal-unread",
                f"log entry {index} could have withdrawn the release of `req-{asked.record[:32]}`, and its text cannot be had",
                hint="ask another copy of the log; `keyturn trust void` is for what nobody can read any more",
            )
    return Withdrawn(known.history, tuple(found))


def _takes(read: Following, leaf: Leaf, raw: bytes) -> bool:
    """Whether `raw`, which stands in the log as `leaf`, has an effect there, whatever it says of its own end."""
    try:
        if records.leaf_of(raw) != leaf:
            return False
        read.take_pushed(raw)
    except KeyturnError:
        return False
    return True


def _withdrawal(leaf: Leaf, raw: bytes) -> Withdrawal:
    made: Revocation | HumanAuthorization = records.parse(raw).statement.predicate
    by = made.approver if isinstance(made, HumanAuthorization) else made.member
    return Withdrawal("den" if leaf.kind == "den" else "rev", Sha256(leaf.record), by, made.reason, leaf.until or 0)
