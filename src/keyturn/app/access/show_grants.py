"""List the live requests of a lab, show one whole, and explain what it still needs: for people, from a verified view.

The state of each is computed through the table of `grants.lifecycle`. Nothing here opens anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from keyturn.errors import KeyturnError, Refused
from keyturn.formats import records
from keyturn.formats.access import AccessRequest
from keyturn.formats.digest import Sha256
from keyturn.formats.posix_time import rfc3339
from keyturn.grants import checks, lifecycle, withdrawing
from keyturn.grants.agreed import policies_of
from keyturn.grants.known import Offer
from keyturn.grants.lifecycle import Event, State
from keyturn.grants.view import GateView
from keyturn.grants.window import Window, window_of
from keyturn.policy.decide import Deny, decide
from keyturn.policy.explain import explain
from keyturn.policy.facts import NO_FACTS
from keyturn.policy.hope import hopeless
from keyturn.policy.load import Policy
from keyturn.trust.roster import TrustState

__all__ = ["Agreed", "Explained", "Linked", "Live", "explain_grant", "in_vain", "linked", "list_grants", "live_request"]


@dataclass(frozen=True, slots=True)
class Agreed:
    """One approval: whose, when it was signed (POSIX seconds), and why."""

    approver: str
    signed_at: int
    reason: str


@dataclass(frozen=True, slots=True)
class Live:
    """A live request: its state, who approved and why, and the window if its quorum was met. Every verdict says `profile`.

    `unread`: a record that may end it is in the log and could not be read, so that its state is not known.
    """

    id: str
    digest: str
    state: State
    request: AccessRequest
    approvers: tuple[str, ...]
    approvals: tuple[Agreed, ...]
    window: Window | None
    withdrawn_by: str | None
    unread: bool
    profile: str


@dataclass(frozen=True, slots=True)
class Explained:
    """Why it is not granted (nothing when it would be, facts aside), and who could still approve.

    `hopeless`: no gate will open for it, whoever approves; the sentences say why.
    """

    live: Live
    sentences: tuple[str, ...]
    could_approve: tuple[str, ...]
    hopeless: bool = False


@dataclass(frozen=True, slots=True)
class Linked:
    """What people offered in place of a live request, the request that it follows, and those that follow it.

    `follows_ended` is who ended the followed one, and why, when that is known still: a request may name any as its forerunner.
    """

    offers: tuple[Offer, ...]
    follows: str | None
    followed_by: tuple[str, ...]
    follows_ended: str | None = None


def linked(view: GateView, made: AccessRequest, digest: str, *, now: int) -> Linked:
    """The offers for the live request `made`, and the requests before and after it. Everybody may say what his follows."""
    later = []
    for other in view.known.requests.values():
        if other.raw is not None:
            after: AccessRequest = records.parse(other.raw).statement.predicate
            if after.follows == digest and after.requester == made.requester:
                later.append(records.record_id("req", other.digest))
    follows = None if made.follows is None else records.record_id("req", made.follows)
    return Linked(view.known.offers.get(digest, ()), follows, tuple(later), _follows_ended(view, made, now=now))


def _follows_ended(view: GateView, made: AccessRequest, *, now: int) -> str | None:
    before = None if made.follows is None else view.known.requests.get(Sha256(made.follows))
    if before is None or before.raw is None:
        return None
    first: AccessRequest = records.parse(before.raw).statement.predicate
    ended = next(withdrawing.ending(view.known, before.digest, first, now=now), None)
    return None if ended is None else f"{ended.by} {ended.verb} it: {ended.reason}"


def list_grants(view: GateView, trust: TrustState, *, now: int) -> tuple[Live, ...]:
    """Every live request that could be read, oldest first."""
    readable = sorted((r for r in view.known.requests.values() if r.raw is not None), key=lambda r: r.index)
    return tuple(_live(view, trust, request.digest, now=now) for request in readable)


def live_request(view: GateView, trust: TrustState, digest: str, *, now: int) -> Live:
    """The live request `digest`, with its state at `now`; `Unavailable` `negative-unread` when that is not known."""
    view.known.require_read(f"request:{digest}", what="request")
    return _live(view, trust, digest, now=now)


def _live(view: GateView, trust: TrustState, digest: str, *, now: int) -> Live:
    known = view.known.requests.get(digest)
    if known is None or known.raw is None:
        raise Refused("request-unknown", f"`req-{digest[:32]}` is no live request that could be read")
    made: AccessRequest = records.parse(known.raw).statement.predicate
    approvals = tuple(_approvals(view, digest))
    signed = {one.approver: one.signed_at for one in approvals}
    withdrawn = next(withdrawing.ending(view.known, digest, made, now=now), None)
    window = _window(view, trust, made, signed)
    return Live(
        id=records.record_id("req", digest),
        digest=digest,
        state=lifecycle.run(_events(view, digest, made, signed, window, now)),
        request=made,
        approvers=tuple(sorted(signed)),
        approvals=approvals,
        window=window,
        withdrawn_by=withdrawn.by if withdrawn else None,
        unread=f"request:{digest}" in view.known.unread,
        profile=trust.profile,
    )


def explain_grant(view: GateView, trust: TrustState, digest: str, *, now: int) -> Explained:
    """Explain the request `digest`: how it ended, or what it still needs as far as that is known without the gate's facts."""
    live = live_request(view, trust, digest, now=now)
    if live.state in lifecycle.END_STATES:
        return Explained(live, (_ending(view, live, now=now),), ())
    vain = in_vain(view, trust, live.request, now=now)
    if vain:
        withdraw = f"whoever asked takes it back, and asks for something else: keyturn grant withdraw {live.id}"
        return Explained(live, ("HOPELESS: whoever approves, no gate opens for it", *vain, withdraw), (), True)
    suspended = frozenset(
        member for member in trust.roster.members if list(view.known.suspensions_of(f"member:{member}", now=now))
    )
    sentences = [
        f"`{who}` is suspended: this approval does not count meanwhile" for who in live.approvers if who in suspended
    ]
    policy = view.shelf.policy(trust)
    approvers = [who for who in live.approvers if who not in suspended]
    facts = NO_FACTS.adding(checks.renewal_facts(live.request, Sha256(digest), view.known))
    decided = decide(policy, live.request, approvers, facts, now=now)
    could: tuple[str, ...] = ()
    if isinstance(decided, Deny):
        found = explain(policy, live.request, approvers, decided, suspended=suspended)
        by_facts = {reason.text for reason in decided.reasons if reason.code == "policy-error"}
        sentences += [sentence for sentence in found.sentences if sentence not in by_facts]
        if by_facts:
            sentences.append("the gate itself must find out the rest: the policy asks for facts that only it knows")
        could = found.could_approve
    return Explained(live, tuple(sentences), could)


def in_vain(view: GateView, trust: TrustState, made: AccessRequest, *, now: int) -> tuple[str, ...]:
    """Why nobody can get it granted any more, under the trust that it names or under the newest; nothing while there is hope."""
    then = trust if made.trust_version == trust.targets_version else view.trust.at(made.trust_version)
    if then is None:
        return (f"it names trust version {made.trust_version}, which the log does not have",)
    if made.gate not in trust.gates:
        return (f"trust version {trust.targets_version}: `{made.gate}` is no gate of the lab",)
    return tuple(
        f"trust version {policy.trust_version}: {reason.text}"
        for policy in policies_of(view.shelf, trust, then)
        for reason in hopeless(policy, made, NO_FACTS, now=now)
    )


def _ending(view: GateView, live: Live, *, now: int) -> str:
    again = "whoever needs it asks again"
    withdrawn = next(withdrawing.ending(view.known, live.digest, live.request, now=now), None)
    if withdrawn is not None:
        own = withdrawn.by in (live.request.requester, live.request.beneficiary)
        verb = "withdrew" if own and withdrawn.kind == "rev" else withdrawn.verb
        return f"`{withdrawn.by}` {verb} it: {withdrawn.reason}; {again}"
    if live.window is not None:
        return f"it was open until {rfc3339(live.window.ends_at)}; {again}"
    return f"its quorum was not met by {rfc3339(live.request.start_by)}; {again}"


def _approvals(view: GateView, digest: str) -> Iterator[Agreed]:
    for approval in view.known.approvals.get(digest, ()):
        if approval.raw is not None:
            made = records.parse(approval.raw).statement.predicate
            yield Agreed(made.approver, made.signed_at, made.reason)


def _window(view: GateView, trust: TrustState, made: AccessRequest, signed: dict[str, int]) -> Window | None:
    try:
        policy: Policy = view.shelf.policy(trust)
        return window_of(made, signed, (policy,)) if made.permit in policy.permits else None
    except KeyturnError:
        return None  # not met, missed, or a policy that does not load: there is no window


def _events(
    view: GateView, digest: str, made: AccessRequest, signed: dict[str, int], window: Window | None, now: int
) -> Iterator[Event]:
    for _ in signed:
        yield "approve"
    if window is not None:
        yield "quorum"
        if now >= window.starts_at:
            yield "open"
            broken = any(use.request == digest for use in view.known.unreviewed.values())
            if broken or digest in view.known.uses:
                yield "use"
    withdrawn = list(withdrawing.ending(view.known, digest, made, now=now))
    if withdrawn:
        yield "deny" if withdrawn[0].kind == "den" else "revoke"
    elif window is None and now > made.start_by:
        yield "lapse"
    elif window is not None and now >= window.ends_at:
        yield "close"
