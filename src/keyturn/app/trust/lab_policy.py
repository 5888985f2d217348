"""Hold a proposed policy against the roster beside it: what nobody could use is not published, what opens more is shown.

A lab without any policy file grants nothing, which is how a lab begins, and no error.
"""

from __future__ import annotations

import re

from keyturn.errors import Refused
from keyturn.policy.coalitions import diff, report
from keyturn.policy.lint import refuse_unapprovable
from keyturn.policy.load import load
from keyturn.policy.quorum import Quorum
from keyturn.trust.roster import TrustState

__all__ = ["check_policy", "coalition_changes", "groups_named"]

_GROUP = re.compile(r'Group::"([^"]*)"')
_QUORUM = re.compile(r'@quorum\("([^"]*)"\)')


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


def groups_named(policy: tuple[tuple[str, str], ...]) -> frozenset[str]:
    """The groups that policy texts name, read before those are there and the texts can load. Nobody is let in by it."""
    found: set[str] = set()
    for _, text in policy:
        found.update(_GROUP.findall(text))
        for quorum in _QUORUM.findall(text):
            try:
                found.update(term.group for term in Quorum.parse(quorum).terms)
            except Refused:
                continue  # `propose` says what is wrong with it
    return frozenset(found)
