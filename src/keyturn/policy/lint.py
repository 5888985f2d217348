"""Find what a policy should not be published with: permits that nobody can ever use, and what will surprise its readers.

An error here stops `keyturn trust publish`. At a gate nothing is linted: such a permit is dead by itself, and the others live.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from keyturn.errors import Refused
from keyturn.policy import persons
from keyturn.policy.coalitions import PermitReport, report
from keyturn.policy.load import Permit, Policy

__all__ = ["Finding", "lint", "refuse_unapprovable"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding about one permit."""

    level: Literal["error", "warning"]
    permit: str
    code: str
    text: str


def lint(policy: Policy) -> tuple[Finding, ...]:
    """Every finding about `policy`, errors first."""
    found = [finding for permit in report(policy).permits.values() for finding in _findings(policy, permit)]
    return tuple(sorted(found, key=lambda finding: (finding.level, finding.permit, finding.code)))


def refuse_unapprovable(policy: Policy) -> None:
    """Raise `Refused` with every error that `lint` finds: whoever publishes targets calls this first."""
    errors = [finding for finding in lint(policy) if finding.level == "error"]
    if errors:
        raise Refused(
            "policy-unapprovable",
            f"{len(errors)} of {len(policy.permits)} permits can never be used by anybody",
            reasons=tuple((finding.code, finding.text) for finding in errors),
            hint="keyturn policy check",
        )


def _findings(policy: Policy, found: PermitReport) -> Iterator[Finding]:
    permit = found.permit
    if not permit.asks:
        yield Finding(
            "error", permit.id, "permit-nobody-asks", f"permit `{permit.id}`: nobody in the roster may ask by it"
        )
    elif found.size is None and found.complete:
        yield Finding(
            "error",
            permit.id,
            "permit-unapprovable",
            f"permit `{permit.id}`: whoever asks, {permit.quorum} can never be met by others",
        )
    if found.complete and found.count == 1:
        (only,) = found.coalitions
        yield Finding(
            "warning",
            permit.id,
            "permit-one-coalition",
            f"permit `{permit.id}`: only {', '.join(only.example)} together can ever use it",
        )
    if permit.break_glass:
        yield from _unreviewable(policy, permit)
    for term in permit.quorum.terms:
        members = policy.roster.members_of(term.group)
        others = sorted(m for m in members if policy.roster.members[m].kind != "human")
        if others:
            yield Finding(
                "warning",
                permit.id,
                "permit-group-not-human",
                f"permit `{permit.id}`: in `{term.group}`, {', '.join(others)} can never approve",
            )


def _unreviewable(policy: Policy, permit: Permit) -> Iterator[Finding]:
    """Whoever could use it once, and then never again: nobody is left who took no part."""
    humans = {member.id for member in policy.roster.members.values() if member.kind == "human"}
    alone = sorted(
        asker
        for asker in permit.asks
        if len(humans - persons.excluded(policy.roster, asker, asker)) <= permit.quorum.size
    )
    if alone:
        yield Finding(
            "warning",
            permit.id,
            "permit-unreviewable",
            f"permit `{permit.id}`: when {', '.join(alone)} used it, nobody might be left to review that, and it stays locked",
        )
