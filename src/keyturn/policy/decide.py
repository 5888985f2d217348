"""Decide one request under one policy: `Allow` or `Deny` with every reason. Pure, and the only place that asks Cedar.

(a) the request is of this lab, its requester, beneficiary and resource are known, and its action is one;
(b) its permit exists, is a permit for this action, and the request stays within that permit's limits, which alone apply;
(c) Cedar allows, no policy erred, and the named permit is among the determining ones, for the requester and for the beneficiary;
(d) different humans, none of them concerned, meet that permit's quorum.

Everything else is a Deny: an evaluation error (Cedar itself skips forbids that err), no decision, a missing fact, a forbid.

This is NOT verification: whose signatures are good is `grants.verify_grant`'s business; `approvers` are those it found.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cedarpy
import msgspec

from keyturn.formats.access import AccessRequest
from keyturn.policy import persons
from keyturn.policy.facts import Fact, Facts
from keyturn.policy.load import Permit, Policy
from keyturn.policy.quorum import Shortfall, match_quorum
from keyturn.policy.schema import ACTIONS, ENTITY_OF_KIND, ENTITY_OF_RESOURCE

__all__ = ["Allow", "Deny", "Reason", "beyond_limits", "decide", "unknown_parts"]


@dataclass(frozen=True, slots=True)
class Reason:
    """Why not: a stable code, and a sentence for people."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Allow:
    """Yes, by `permit`, with the seats of its quorum taken by `approvers` (in the order of the seats)."""

    permit: Permit
    approvers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Deny:
    """No, for each of `reasons`; never empty."""

    reasons: tuple[Reason, ...]


_NO_RENEWAL = Facts({"request.renewal": False})
"""Unless whoever knows the log says otherwise (`grants.checks`): what a request itself follows is its requester's word, who can
as well ask without naming anything.
"""


def decide(policy: Policy, request: AccessRequest, approvers: Iterable[str], facts: Facts, *, now: int) -> Allow | Deny:
    """Decide whether `request`, agreed to by `approvers`, is allowed under `policy` at `now` (POSIX seconds)."""
    unknown = unknown_parts(policy, request)  # (a), and of (b) whether the permit exists
    if unknown:
        return Deny(unknown)
    permit = policy.permits[request.permit]
    reasons = list(beyond_limits(permit, request))  # (b)
    reasons += _ask_cedar(policy, request, permit, facts, now)  # (c)
    counted = persons.countable(policy.roster, approvers, request.requester, request.beneficiary)
    matched = match_quorum(permit.quorum, counted, policy.roster.members_of)  # (d)
    if isinstance(matched, Shortfall):
        reasons.append(Reason("quorum-not-met", f"permit `{permit.id}` needs {permit.quorum}; got {matched}"))
        return Deny(tuple(reasons))
    return Deny(tuple(reasons)) if reasons else Allow(permit, matched.seated)


def unknown_parts(policy: Policy, request: AccessRequest) -> tuple[Reason, ...]:
    """What `request` names and `policy` does not know: people, resource, action; else the permit."""
    reasons = []
    if request.lab != policy.lab:
        reasons.append(Reason("lab-other", f"expected a request of lab `{policy.lab}`, got `{request.lab}`"))
    for what, member in (("requester", request.requester), ("beneficiary", request.beneficiary)):
        if member not in policy.roster.members:
            reasons.append(Reason(f"{what}-unknown", f"{what} `{member}` is not in the roster"))
    if request.resource not in policy.resources.by_uri:
        reasons.append(Reason("resource-unknown", f"`{request.resource}` is not among the lab's resources"))
    if request.action not in ACTIONS:
        reasons.append(Reason("action-unknown", f"`{request.action}` is no action"))
    if not reasons and request.permit not in policy.permits:
        text = f"`{request.permit}` is no permit of policy version {policy.trust_version}"
        reasons.append(Reason("permit-unknown", text))
    return tuple(reasons)


def beyond_limits(permit: Permit, request: AccessRequest) -> Iterable[Reason]:
    """Where `request` asks for more than `permit` is for."""
    if request.action not in permit.actions:
        yield Reason("permit-other-action", f"permit `{permit.id}` is not for `{request.action}`")
    if permit.break_glass != (request.break_glass_at is not None):
        # INVARIANT: break-glass is said both in the permit and in the request that people sign.
        ask = "is for break-glass alone" if permit.break_glass else "is not for break-glass"
        yield Reason("permit-other-glass", f"permit `{permit.id}` {ask}")
    if permit.duration_max_s is not None and request.duration_s > permit.duration_max_s:
        yield Reason(
            "duration-too-long",
            f"permit `{permit.id}` allows {permit.duration_max_s} s, the request asks for {request.duration_s} s",
        )
    # A one-shot waits for its use as a session waits for its start: until it is over, it is pending.
    last = request.not_after if permit.one_shot else request.start_by
    if last - request.not_before > permit.pending_max_s:
        yield Reason(
            "pending-too-long",
            f"permit `{permit.id}` lets a request wait {permit.pending_max_s} s, this one {last - request.not_before} s",
        )


def _ask_cedar(policy: Policy, request: AccessRequest, permit: Permit, facts: Facts, now: int) -> list[Reason]:
    resource = policy.resources.by_uri[request.resource].uri
    known = _NO_RENEWAL.adding(facts).adding(_own_facts(request, now))
    context = msgspec.json.encode(known.nested()).decode()
    members = sorted({request.requester, request.beneficiary})
    asked = [
        {
            "principal": {"type": ENTITY_OF_KIND[policy.roster.members[member].kind], "id": member},
            "action": {"type": "Action", "id": request.action},
            "resource": {"type": ENTITY_OF_RESOURCE[resource.type], "id": resource.name},
            "context": context,
        }
        for member in members
    ]
    answers = cedarpy.is_authorized_batch(asked, policy.policies, policy.entities, policy.schema)
    heard = (_hear(who, permit, answer) for who, answer in zip(members, answers, strict=True))
    return [reason for reason in heard if reason is not None]


def _hear(who: str, permit: Permit, answer: cedarpy.AuthzResult) -> Reason | None:
    errors = answer.diagnostics.errors
    determining = answer.diagnostics.reasons
    # INVARIANT: errors are looked at before the decision: Cedar skips a forbid that errs, and would allow.
    if errors or answer.decision is cedarpy.Decision.NoDecision:
        return Reason("policy-error", f"for `{who}`: {'; '.join(sorted(errors))[:600]}")
    if answer.decision is not cedarpy.Decision.Allow:
        if determining:
            forbidding = ", ".join(f"`{name}`" for name in sorted(determining))
            return Reason("policy-forbids", f"forbidden for `{who}` by {forbidding}")
        return Reason("policy-not-permitted", f"no permit applies to `{who}`")
    if permit.id not in determining:
        return Reason("permit-not-determining", f"permit `{permit.id}` does not apply to `{who}`")
    return None


def _own_facts(request: AccessRequest, now: int) -> dict[str, Fact]:
    terms, held = request.session, request.database
    found: dict[str, Fact] = {
        "request.duration_s": request.duration_s,
        "request.for_other": request.requester != request.beneficiary,
        "request.break_glass": request.break_glass_at is not None,
        "request.command": terms is not None and terms.command is not None,
        "request.forwards": terms is not None and bool(terms.forwards),
        "request.recorded": terms is not None and terms.bastion is not None,
        "request.sftp": terms is not None and terms.sftp,
        "request.sources": terms is not None and bool(terms.sources),
        "request.read_only": held is not None and held.read_only,
        "request.tables": held is not None and bool(held.tables),
        "request.statement_timeout": held is not None and held.statement_s is not None,
        "request.connections": held is not None and held.connections is not None,
        "request.watched": terms is not None and terms.watcher is not None,
        "time.hour": now % 86400 // 3600,
        "time.weekday": (now // 86400 + 3) % 7 + 1,  # 1970-01-01 was a Thursday
    }
    if request.bytes_max is not None:
        found["request.bytes_max"] = request.bytes_max
    return found
