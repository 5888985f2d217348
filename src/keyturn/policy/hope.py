"""Say whether anybody could ever approve a request: what all humans of the roster together cannot change.

For whoever asks, whoever is asked, and the door of the log, so that no request waits in vain and is reported as fine.
No gate reads this: a gate decides on those who signed (`policy.decide`).
"""

from __future__ import annotations

from collections.abc import Iterator

from keyturn.errors import Refused
from keyturn.formats.access import AccessRequest
from keyturn.policy import persons
from keyturn.policy.decide import Allow, Reason, beyond_limits, decide, unknown_parts
from keyturn.policy.facts import Facts
from keyturn.policy.load import Policy
from keyturn.policy.quorum import Shortfall, match_quorum
from keyturn.policy.schema import ACTIONS

__all__ = ["hopeless", "plainly_hopeless", "refuse_hopeless"]

_HOURS_OF_A_WEEK = 168


def refuse_hopeless(reasons: tuple[Reason, ...]) -> None:
    """Raise `Refused` with all `reasons` why nobody could ever approve a request; return when there are none."""
    if reasons:
        raise Refused(
            "request-hopeless",
            f"nobody could ever approve this: {reasons[0].text}",
            reasons=tuple((reason.code, reason.text) for reason in reasons),
            hint="`keyturn policy check` says who may ask for what; look for a misspelt name first",
        )


def plainly_hopeless(policy: Policy, request: AccessRequest) -> tuple[Reason, ...]:
    """Why nobody can ever get `request` granted, as far as names, limits, scopes and quorums say it: cheap, and asks no Cedar."""
    unknown = unknown_parts(policy, request)
    if unknown:
        return unknown
    permit = policy.permits[request.permit]
    reasons = list(beyond_limits(permit, request))
    reasons += [
        Reason("permit-not-determining", f"permit `{permit.id}` does not apply to `{who}`")
        for who in sorted({request.requester, request.beneficiary} - permit.asks)
    ]
    if request.session_key is None and not ACTIONS[request.action].one_shot:
        reasons.append(
            Reason("session-key-missing", f"`{request.action}` opens a session, and the request names no session key")
        )
    everybody = persons.countable(policy.roster, policy.roster.members, request.requester, request.beneficiary)
    short = match_quorum(permit.quorum, everybody, policy.roster.members_of)
    if isinstance(short, Shortfall):
        text = f"permit `{permit.id}` needs {permit.quorum}; if everybody approved who may, it would have {short}"
        reasons.append(Reason("quorum-not-met", text))
    return tuple(reasons)


def hopeless(policy: Policy, request: AccessRequest, facts: Facts, *, now: int) -> tuple[Reason, ...]:
    """Why nobody can get `request` granted at any hour of its life from `now` (POSIX seconds) on; empty when there is hope.

    What `facts` lacks is not known yet, and leaves hope.
    """
    said = plainly_hopeless(policy, request)
    if said:
        return said
    for at in _hours(request, now):
        decided = decide(policy, request, policy.roster.members, facts, now=at)
        if isinstance(decided, Allow):
            return ()
        against = tuple(reason for reason in decided.reasons if reason.code != "policy-error")
        if not against:
            return ()
        said = said or against
    return said


def _hours(request: AccessRequest, now: int) -> Iterator[int]:
    """Every hour of the request's life, of a week at most: facts about time say no more than hour and weekday."""
    begin = max(now, request.not_before)
    yield begin
    begun = begin - begin % 3600
    yield from range(begun + 3600, min(request.not_after, begun + _HOURS_OF_A_WEEK * 3600) + 1, 3600)
