"""Say a denial in words: what is missing, and who could still approve.

For people only: nothing here is evidence, and no gate reads it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from keyturn.formats.access import AccessRequest
from keyturn.policy import persons
from keyturn.policy.decide import Deny
from keyturn.policy.load import Policy
from keyturn.policy.quorum import Shortfall, match_quorum

__all__ = ["Explanation", "explain", "who_could_approve"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Each reason as a sentence, and the humans whose approval would fill one more seat."""

    sentences: tuple[str, ...]
    could_approve: tuple[str, ...]


def explain(
    policy: Policy, request: AccessRequest, approvers: Iterable[str], deny: Deny, *, suspended: frozenset[str]
) -> Explanation:
    """Explain `deny`, as `decide` gave it for these `approvers`."""
    could = who_could_approve(policy, request, approvers, suspended=suspended)
    sentences = [reason.text for reason in deny.reasons]
    if could:
        sentences.append(f"who could still approve: {', '.join(could)}")
    elif any(reason.code == "quorum-not-met" for reason in deny.reasons):
        sentences.append("nobody is left who could approve")
    return Explanation(tuple(sentences), could)


def who_could_approve(
    policy: Policy, request: AccessRequest, approvers: Iterable[str], *, suspended: frozenset[str]
) -> tuple[str, ...]:
    """The humans, in order of id, whose approval would bring the named permit's quorum nearer."""
    permit = policy.permits.get(request.permit)
    if permit is None:
        return ()
    members_of = policy.roster.members_of
    given = persons.countable(policy.roster, approvers, request.requester, request.beneficiary)
    short = match_quorum(permit.quorum, given, members_of)
    if not isinstance(short, Shortfall):
        return ()
    pool = persons.countable(policy.roster, policy.roster.members, request.requester, request.beneficiary)
    helpful = []
    for human in sorted(pool - given - suspended):
        then = match_quorum(permit.quorum, given | {human}, members_of)
        if not isinstance(then, Shortfall) or then.met > short.met:
            helpful.append(human)
    return tuple(helpful)
