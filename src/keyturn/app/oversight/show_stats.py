"""Measure how two-party control goes: how long people wait, for whom, what is stuck, and which permits nobody uses.

Everything is computed from the log itself: requests, approvals and whatever ended them, each verified under the trust of its
place, up to a checkpoint that the witnesses cosigned. A request is counted from its `not_before`, and its wait ends when the
quorum of its permit was met. A request of which a record could not be read, or was erased, is not measured, and how
many such records there are is said.

This is NOT evidence of anything but waiting: whether a grant was right is for `grants.verify_past`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from keyturn.errors import KeyturnError, Tampered, Unavailable
from keyturn.formats import records
from keyturn.formats.access import AccessRequest
from keyturn.formats.digest import Sha256
from keyturn.grants import withdrawing
from keyturn.grants.following import Following
from keyturn.grants.known import Known, Request
from keyturn.grants.view import GateView
from keyturn.grants.window import window_of
from keyturn.policy.decide import Deny, decide
from keyturn.policy.explain import who_could_approve
from keyturn.policy.facts import NO_FACTS
from keyturn.ports import LogReader
from keyturn.tlog.frontier import Frontier
from keyturn.trust.roster import TrustState

__all__ = ["UNUSED_AFTER_S", "Permit", "Stats", "Stuck", "Unreviewed", "Waited", "read_whole", "show_stats"]

UNUSED_AFTER_S = 90 * 86_400
_RUN = 4096


@dataclass(frozen=True, slots=True)
class Permit:
    """How one permit is used: requests by it, how many were granted, the median wait; when it was asked for last, and granted
    last (POSIX seconds)."""

    permit: str
    asked: int
    granted: int
    wait_median_s: int | None
    asked_last: int | None
    granted_last: int | None
    unused: bool


@dataclass(frozen=True, slots=True)
class Waited:
    """How often, and how long in the median, requests of one person were complete only with another's approval."""

    requester: str
    approver: str
    times: int
    wait_median_s: int


@dataclass(frozen=True, slots=True)
class Stuck:
    """A request that waits still: since when, and who could bring it nearer."""

    id: str
    requester: str
    permit: str
    waits_s: int
    could_approve: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unreviewed:
    """A use by break-glass that nobody reviewed, and since when."""

    id: str
    resource: str
    waits_s: int


@dataclass(frozen=True, slots=True)
class Stats:
    """What the log says of requests from `since` (POSIX seconds) on. `waits_s` are the waits of those that were granted.

    `unreviewed` are the uses by break-glass that nobody reviewed yet, the longest first.
    `unread` records could not be read; `erased` ones have tombstones. Both are of all times: when it was stood in the record.
    """

    since: int
    log_size: int
    asked: int
    granted: int
    denied: int
    revoked: int
    lapsed: int
    waiting: int
    unreviewed: tuple[Unreviewed, ...]
    unread: int
    erased: int
    wait_median_s: int | None
    waits_s: tuple[int, ...]
    permits: tuple[Permit, ...]
    waited: tuple[Waited, ...]
    stuck: tuple[Stuck, ...]


@dataclass(frozen=True, slots=True)
class _Seen:
    digest: Sha256
    made: AccessRequest
    wait_s: int | None
    last: str | None
    ended: str | None


def read_whole(view: GateView, reader: LogReader) -> Known:
    """Everything that the log says up to what `view` believes, over or not; `Tampered` when the log now shows other leaves."""
    read = Following(Known(history=view.pinned), Frontier.empty(), nonce_record=None, now=0)
    while (start := read.frontier.size) < view.frontier.size:
        leaves = reader.leaves(start, min(start + _RUN, view.frontier.size))
        if not leaves:
            raise Unavailable("log-range", f"the log gave no leaves after {start}")
        read.take(leaves, _envelopes(read.needed(leaves), reader))
    if read.frontier != view.frontier:
        raise Tampered("log-other-leaves", "the log shows other leaves than a moment ago", hint="keyturn log verify")
    return read.known()


def show_stats(view: GateView, known: Known, trust: TrustState, *, since: int, now: int) -> Stats:
    """Count and measure what `known` (from `read_whole`) has from `since` on, under the policy that each request names."""
    requests = [request for request in known.requests.values() if _is_whole(known, request)]
    seen = [
        found for request in requests if (found := _look(view, known, request.digest, request.raw or b"", since, now))
    ]
    waits = sorted(one.wait_s for one in seen if one.wait_s is not None)
    waiting = [one for one in seen if one.wait_s is None and one.ended is None]
    return Stats(
        since=since,
        log_size=view.frontier.size,
        asked=len(seen),
        granted=len(waits),
        denied=sum(one.ended == "den" for one in seen),
        revoked=sum(one.ended == "rev" for one in seen),
        lapsed=sum(one.ended == "lapsed" for one in seen),
        waiting=len(waiting),
        unreviewed=tuple(_unreviewed(known, now)),
        unread=sum(not one.erased and one.withdrawal is None for one in known.hidden.values()),
        erased=sum(one.erased for one in known.hidden.values()),
        wait_median_s=_median(waits),
        waits_s=tuple(waits),
        permits=tuple(_permits(view, trust, seen, now)),
        waited=tuple(_waited(seen)),
        stuck=tuple(_stuck(view, known, trust, waiting, now)),
    )


def _unreviewed(known: Known, now: int) -> Iterator[Unreviewed]:
    for use in sorted(known.unreviewed.values(), key=lambda use: (use.used_at, use.digest)):
        yield Unreviewed(records.record_id("brk", use.digest), use.resource, max(0, now - use.used_at))


def _is_whole(known: Known, request: Request) -> bool:
    # An approval or denial that was erased would make a request look lapsed that was granted or denied.
    raws = (request.raw, *(approval.raw for approval in known.approvals.get(request.digest, ())))
    return None not in raws and f"request:{request.digest}" not in known.unread


def _envelopes(digests: Iterable[Sha256], reader: LogReader) -> dict[Sha256, bytes]:
    found = {}
    for digest in digests:
        try:
            found[digest] = reader.envelope(digest)
        except KeyturnError:
            continue  # `Known.hidden` names it
    return found


def _look(view: GateView, known: Known, digest: Sha256, raw: bytes, since: int, now: int) -> _Seen | None:
    made: AccessRequest = records.parse(raw).statement.predicate
    if made.not_before < since:
        return None
    signed = _signed(known, digest)
    met = _met_at(view, made, signed)
    withdrawn = tuple(withdrawing.ending(known, digest, made, now=0))
    ended = withdrawn[0].kind if withdrawn else "lapsed" if met is None and now > made.start_by else None
    last = None if met is None else max((at, who) for who, at in signed.items() if at <= met)[1]
    return _Seen(digest, made, None if met is None else max(0, met - made.not_before), last, ended)


def _signed(known: Known, digest: str) -> dict[str, int]:
    signed: dict[str, int] = {}
    for approval in known.approvals.get(digest, ()):
        if approval.raw is not None:
            made = records.parse(approval.raw).statement.predicate
            signed[made.approver] = min(made.signed_at, signed.get(made.approver, made.signed_at))
    return signed


def _met_at(view: GateView, made: AccessRequest, signed: dict[str, int]) -> int | None:
    """When the quorum was met, under the policy that the request names; None when it was not, or not in time."""
    try:
        then = view.trust.at(made.trust_version)
        if then is None or made.permit not in (policy := view.shelf.policy(then)).permits:
            return None
        return window_of(made, signed, (policy,)).starts_at
    except KeyturnError:
        return None


def _permits(view: GateView, trust: TrustState, seen: Sequence[_Seen], now: int) -> Iterator[Permit]:
    for name in sorted(view.shelf.policy(trust).permits):
        of_it = [one for one in seen if one.made.permit == name]
        waits = [one.wait_s for one in of_it if one.wait_s is not None]
        last = max((one.made.not_before for one in of_it), default=None)
        granted = max((one.made.not_before + one.wait_s for one in of_it if one.wait_s is not None), default=None)
        unused = last is None or now - last > UNUSED_AFTER_S
        yield Permit(name, len(of_it), len(waits), _median(waits), last, granted, unused)


def _waited(seen: Sequence[_Seen]) -> Iterator[Waited]:
    pairs: dict[tuple[str, str], list[int]] = {}
    for one in seen:
        if one.wait_s is not None and one.last is not None:
            pairs.setdefault((one.made.requester, one.last), []).append(one.wait_s)
    for (requester, approver), waits in sorted(pairs.items(), key=lambda pair: -sum(pair[1])):
        yield Waited(requester, approver, len(waits), round(median(waits)))


def _stuck(view: GateView, known: Known, trust: TrustState, waiting: Sequence[_Seen], now: int) -> Iterator[Stuck]:
    policy = view.shelf.policy(trust)
    for one in sorted(waiting, key=lambda one: one.made.not_before):
        approvers = _signed(known, one.digest)
        decided = decide(policy, one.made, approvers, NO_FACTS, now=now)
        could = (
            who_could_approve(policy, one.made, approvers, suspended=frozenset()) if isinstance(decided, Deny) else ()
        )
        waits_s = max(0, now - one.made.not_before)
        yield Stuck(records.record_id("req", one.digest), one.made.requester, one.made.permit, waits_s, could)


def _median(waits: Sequence[int]) -> int | None:
    return round(median(waits)) if waits else None
