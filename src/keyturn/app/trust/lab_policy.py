"""Hold a proposed policy against the roster beside it: what nobody could use is not published, what opens more is shown.

A lab without any policy file grants nothing, which is how a lab begins, and no error.
"""

from __future__ import annotations

from keyturn.policy.coalitions import diff, report
from keyturn.policy.lint import refuse_unapprovable
from keyturn.policy.load import load
from keyturn.trust.roster import TrustState

__all__ = ["check_policy", "coalition_changes"]


def check_policy(state: TrustState) -> None:
    """Raise `Refused` when the policy of `state` does not load, or has a permit that nobody can ever use."""
    if state.policy:
        refuse_unapprovable(load(state))


def coalition_changes(before: TrustState | None, after: TrustState | None) -> tuple[str, ...]:
    """Say who could get through what that could not before; for a first policy, the smallest coalitions of each permit."""
    if after is None or not after.policy:
        return ()
    new = load(after)
    if before is not None and before.policy:
        return tuple(text for change in diff(load(before), new) for text in change.texts)
    found = report(new)
    return tuple(
        f"permit `{name}`: {permit.size} people are enough, as {', '.join(permit.coalitions[0].example)}"
        if permit.coalitions
        else f"permit `{name}`: nobody can get through"
        for name, permit in found.permits.items()
    )
