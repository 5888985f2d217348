"""Offer less than somebody asked for, and take such an offer: as a request of one's own, which follows the first.

An offer grants nothing: coworkers approve the request that follows it, as any other, and gates verify that one. The first request
stays as it is until somebody ends it, or its time is over.
"""

from __future__ import annotations

import msgspec

from keyturn.app.access.authorize import Pending
from keyturn.app.access.take_away import Hand
from keyturn.app.records.find_record import only_one, record_prefix
from keyturn.app.records.sign_record import Logged, about
from keyturn.errors import Refused, Usage
from keyturn.formats.access import AccessRequest
from keyturn.formats.counter_offer import CounterOffer
from keyturn.grants.known import Offer
from keyturn.grants.view import GateView
from keyturn.policy import persons
from keyturn.policy.schema import ACTIONS
from keyturn.ports import Clock, Entropy
from keyturn.trust.roster import TrustState

__all__ = ["draft_counter", "find_offer", "offer_less", "require_less"]


def require_less(made: AccessRequest, *, duration_s: int | None, bytes_max: int | None) -> None:
    """Refuse an offer that is not less than `made` asks for, in each thing that it names."""
    if duration_s is None and bytes_max is None:
        raise Usage("offer-empty", "expected an offer, got none", hint="--duration 30m, or --bytes-max N")
    act = ACTIONS.get(made.action)
    if act is not None and act.one_shot:
        raise Refused(
            "offer-one-shot",
            f"`{made.action}` is done or not, and not for less",
            hint="keyturn deny REQUEST",
        )
    more = duration_s is not None and duration_s >= made.duration_s
    if more or (bytes_max is not None and made.bytes_max is not None and bytes_max >= made.bytes_max):
        raise Refused(
            "offer-not-less",
            f"expected less than the request asks for: {made.duration_s} s, bytes {made.bytes_max or 'without a limit'}",
            hint="keyturn approve, if that is fine",
        )


def offer_less(
    pending: Pending,
    hand: Hand,
    trust: TrustState,
    view: GateView,
    *,
    duration_s: int | None,
    bytes_max: int | None,
    reason: str,
) -> Logged:
    """Sign and log what the hand's member, a human who could approve, would agree to in place of `pending`."""
    now = hand.clock.now()
    known = trust.roster.members.get(hand.member)
    if known is None or known.kind != "human":
        raise Refused("signer-not-human", f"`{hand.member}` is no human of the lab: only humans offer")
    if hand.member in persons.excluded(trust.roster, pending.made.requester, pending.made.beneficiary):
        raise Refused(
            "approver-concerned",
            f"`{hand.member}` asks, benefits, or answers for an agent that does, and can never approve this",
            hint="ask again for less: keyturn request ... --renews",
        )
    hand.require_unsuspended(view, now=now)
    require_less(pending.made, duration_s=duration_s, bytes_max=bytes_max)
    made = CounterOffer(
        **hand.opening(trust, now=now),
        reason=reason,
        request=pending.digest,
        duration_s=duration_s,
        bytes_max=bytes_max,
        until=max(pending.made.not_after, now),
    )
    return hand.logs(made, about(pending.digest, name=pending.id))


def find_offer(view: GateView, text: str) -> tuple[str, Offer]:
    """The offer that `text` (`ofr-` and 8 to 64 digits) names, and the digest of the live request that it is for."""
    _, prefix = record_prefix(text, ("ofr",))
    found = [
        (request, offer)
        for request, offers in view.known.offers.items()
        for offer in offers
        if offer.digest.startswith(prefix)
    ]
    if not found:
        raise Refused(
            "offer-unknown",
            f"no offer `{text[:80]}` is for a live request",
            hint="keyturn grant show REQUEST lists them",
        )
    return only_one(text, found)


def draft_counter(
    pending: Pending, offer: Offer, *, member: str, keyid: str, trust_version: int, clock: Clock, entropy: Entropy
) -> AccessRequest:
    """The request that takes `offer` in place of `pending`: the same but for what was offered, from now on, following it."""
    first = pending.made
    if member != first.requester:
        raise Refused(
            "offer-other",
            f"{pending.id} is `{first.requester}`'s, who signs what follows it",
            hint="keyturn grant show",
        )
    now = clock.now()
    begin = max(now, first.not_before)
    duration_s = offer.duration_s or first.duration_s
    start_by = max(begin, first.start_by)
    return msgspec.structs.replace(
        first,
        nonce=entropy.nonce(),
        key=keyid,
        not_before=begin,
        start_by=start_by,
        not_after=min(first.not_after, start_by + duration_s),
        duration_s=duration_s,
        bytes_max=first.bytes_max if offer.bytes_max is None else offer.bytes_max,
        trust_version=trust_version,
        follows=pending.digest,
        break_glass_at=None if first.break_glass_at is None else now,
    )
