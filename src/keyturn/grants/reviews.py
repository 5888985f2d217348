"""Say who may review a use by break-glass, and what stays locked until somebody did.

A use locks the members who asked and benefited, with the humans who answer for agents among them, and the resource. A signed
review by an unsuspended human who is none of them, and who did not approve it either, ends the lock; nobody else does, and time
does not.

What could not be read locks too. A gate that is no longer in the newest targets locks nothing: so a threshold of people ends
what a gate that was taken over made up.
"""

from __future__ import annotations

from collections.abc import Iterable

from keyturn.errors import Refused
from keyturn.formats.posix_time import rfc3339
from keyturn.grants.known import BreakGlassUse, Known
from keyturn.trust.roster import TrustState

__all__ = ["could_review", "require_may_review", "require_unlocked"]


def could_review(trust: TrustState, use: BreakGlassUse) -> tuple[str, ...]:
    """The humans who may review `use`, in order of id."""
    out = use.members | use.approvers
    return tuple(sorted(m.id for m in trust.roster.members.values() if m.kind == "human" and m.id not in out))


def require_may_review(member: str, trust: TrustState, use: BreakGlassUse) -> None:
    """Refuse whoever is no human of the roster, and whoever asked, benefited, answers for an agent that did, or approved."""
    known = trust.roster.members.get(member)
    if known is None or known.kind != "human":
        raise Refused("signer-not-human", f"`{member}` is no human of the roster, and cannot review")
    if member in use.members | use.approvers:
        raise Refused(
            "review-own",
            f"`{member}` took part in this use: a second person reviews it",
            hint=f"one of these can: {', '.join(could_review(trust, use)) or 'nobody yet: invite somebody'}",
        )


def require_unlocked(
    request: str,
    members: frozenset[str],
    resource: str,
    *,
    known: Known,
    journal: Iterable[BreakGlassUse],
    trust: TrustState,
) -> None:
    """Refuse break-glass for `members` and `resource` while another request's use of one of them is not reviewed.

    `journal` are the uses by break-glass that the gate opened by and has not seen in the log. `Unavailable` when a use that
    concerns one of them could not be read.
    """
    for tag in (*sorted(f"member:{member}" for member in members), f"resource:{resource}"):
        known.require_read(f"break-glass:{tag}", what="break-glass")
    of_gates = [use for use in known.unreviewed.values() if use.gate in trust.gates]
    for use in (*of_gates, *journal):
        if use.request != request and (use.members & members or use.resource == resource):
            raise Refused(
                "break-glass-locked",
                f"the break-glass use `brk-{use.digest[:32]}` of `{use.resource}` by {', '.join(sorted(use.members))} at "
                f"{rfc3339(use.used_at)} is not reviewed",
                hint="a person who took no part in it reviews it: keyturn grant unreviewed, then keyturn grant review",
            )
