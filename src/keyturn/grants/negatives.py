"""Say who may take access away, and who may give it back.

- any unsuspended human may deny or revoke any request; its requester and beneficiary may withdraw it, human or not;
- any member may suspend himself or a key of his own, at any time, even when suspended;
- an unsuspended human of group `security` may suspend a member, a key or a gate (a gate also its operator, when that is a
  human of the roster), for at most `suspension_max_s`, and the same pair not again within `PAIR_REST_S`;
- an unsuspended human, never the target, may lift; it takes two.

"Unsuspended" is judged by what stands before the record in the log, and never by a time that the record claims for itself
alone: a suspended member who dates a record back is still suspended. What is not allowed here has no effect.
"""

from __future__ import annotations

from keyturn.errors import Refused
from keyturn.formats.access import HumanAuthorization
from keyturn.formats.counter_offer import CounterOffer
from keyturn.formats.negatives import Lift, Revocation, Suspension
from keyturn.formats.review import Review
from keyturn.grants.known import SECURITY, Suspended
from keyturn.trust.roster import TrustState

__all__ = [
    "LIFETIME_MAX_S",
    "PAIR_REST_S",
    "is_own",
    "lifetime_max_s",
    "require_human",
    "require_may_lift",
    "require_may_revoke",
    "require_may_suspend",
    "target_of",
]

PAIR_REST_S = 7 * 86400

LIFETIME_MAX_S = 60 * 86400
"""How far ahead a request, an authorization or a negative may reach, unless targets let negatives live longer: as long as the
longest wait and the longest session that a policy can allow."""


def lifetime_max_s(trust: TrustState) -> int:
    """How long after it was made known a record may matter to gates: they hold in memory what is live."""
    return max(LIFETIME_MAX_S, trust.limits.negative_lifetime_max_s)


def target_of(made: Suspension) -> str:
    """The tag of what `made` suspends."""
    if made.target_member is not None:
        return f"member:{made.target_member}"
    if made.target_key is not None:
        return f"key:{made.target_key}"
    return f"gate:{made.target_gate}"


def is_own(made: Suspension, trust: TrustState) -> bool:
    """Whether the signer suspends himself or a key of his own: then nobody is asked, and it lasts as long as he said."""
    return made.target_member == made.member or (
        made.target_key is not None and trust.roster.key_of(made.member, made.target_key) is not None
    )


def require_human(
    made: CounterOffer | HumanAuthorization | Revocation | Lift | Review | Suspension, member: str, trust: TrustState
) -> None:
    """Refuse whoever is no human of the roster."""
    known = trust.roster.members.get(member)
    if known is None or known.kind != "human":
        raise Refused(
            "signer-not-human", f"`{member}` is no human of the roster, and cannot issue a {type(made).__name__}"
        )


def require_may_revoke(made: Revocation, trust: TrustState, parties: frozenset[str]) -> None:
    """Refuse a revocation by somebody who is neither human nor a party of the request."""
    if made.member not in parties:
        require_human(made, made.member, trust)


def require_may_suspend(made: Suspension, trust: TrustState, before: tuple[Suspended, ...]) -> None:
    """Refuse a suspension of another by somebody who may not; `before` are those by the same signer of the same target."""
    require_human(made, made.member, trust)
    gate = trust.gates.get(made.target_gate or "")
    if made.member not in trust.roster.members_of(SECURITY) and (gate is None or gate.operator != made.member):
        raise Refused("suspension-not-allowed", f"`{made.member}` is not in `{SECURITY}` and cannot suspend others")
    if not 0 < made.until - made.signed_at <= trust.limits.suspension_max_s:
        raise Refused("suspension-too-long", f"a suspension lasts at most {trust.limits.suspension_max_s} s")
    if any(made.signed_at - earlier.signed_at < PAIR_REST_S for earlier in before):
        raise Refused(
            "suspension-again",
            f"`{made.member}` suspended `{target_of(made)}` within {PAIR_REST_S} s: it takes another human of `{SECURITY}`",
        )


def require_may_lift(made: Lift, trust: TrustState, suspended: Suspended) -> None:
    """Refuse a lift by the target himself, or by no human."""
    require_human(made, made.member, trust)
    owned = {f"member:{made.member}"} | {f"key:{held.key.keyid}" for held in trust.roster.members[made.member].keys}
    if suspended.target in owned:
        raise Refused("lift-own", f"`{made.member}` cannot lift a suspension of himself")
