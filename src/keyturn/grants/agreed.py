"""Judge what people agreed to: steps 3 to 8, which every verifier of a live grant has (their numbers are `verify_grant`'s).

What stands around them differs, and is the verifier's own: how old the view may be, whether the log must have the records, and
what the grant opens. So no kind of grant is spared one of these, and a change to one of them is a change to all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from keyturn.errors import Refused
from keyturn.grants import checks
from keyturn.grants.checks import Asked
from keyturn.grants.view import GateView, PolicyShelf
from keyturn.grants.window import Window, window_of
from keyturn.policy.decide import Allow
from keyturn.policy.facts import Facts
from keyturn.policy.load import Policy
from keyturn.trust.history import TrustHistory
from keyturn.trust.roster import TrustState

__all__ = ["Agreed", "policies_of", "require_agreed", "state_then"]


@dataclass(frozen=True, slots=True)
class Agreed:
    """What people agreed to: who counts and since when (POSIX seconds), what allows it, and its window."""

    people: Mapping[str, int]
    allowed: Allow
    window: Window


def require_agreed(asked: Asked, view: GateView, trust: TrustState, *, facts: Facts, now: int) -> Agreed:
    """What people agreed to, as `view` and its newest `trust` have it at `now` (POSIX seconds); raises as `verify_grant` does."""
    # (3)
    known = view.known
    for check in checks.requester_checks(asked, trust, known, now=now):
        check()
    # (4)
    then = state_then(asked, view.trust, trust)
    approvals = [checks.require_approval(given, asked, trust, then, known, now=now) for given in asked.approving]
    # (5)
    people = checks.require_persons(asked, trust, then, approvals)
    # (6)
    checks.require_none(checks.taken_away(asked, known, now=now))
    # (7)
    policies = policies_of(view.shelf, trust, then)
    facts = facts.adding(checks.renewal_facts(asked.made, asked.digest, known))
    allowed = checks.agree(asked, approvals, people, policies, facts, trust, now=now)
    # (8)
    window = window_of(asked.made, people, policies)
    window.require_open(now=now)
    return Agreed(people, allowed, window)


def state_then(asked: Asked, history: TrustHistory, trust: TrustState) -> TrustState:
    """The trust that the request's trust_version names; `trust` itself when that is the newest."""
    version = asked.made.trust_version
    then = trust if version == trust.targets_version else history.at(version)
    if then is None:
        raise Refused(
            "trust-version-unknown", f"the request names trust version {version}, which the log does not have"
        )
    return then


def policies_of(shelf: PolicyShelf, trust: TrustState, then: TrustState) -> tuple[Policy, ...]:
    """The policies that must all allow; one and the same version is asked once."""
    newest = shelf.policy(trust)
    return (newest,) if then is trust else (shelf.policy(then), newest)
