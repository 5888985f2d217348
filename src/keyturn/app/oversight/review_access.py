"""Review who has which access: for each permit who may ask, who could approve, when it was asked for and granted last.

The report is a function of the log up to one size, of the trust version there, and of one time; whoever has the log computes the
same again. A person who looked at it signs its SHA-256: that somebody did, and what he found. It changes nothing by itself: what
is found is mended by a change of policy or roster.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from keyturn.app.access.take_away import Hand
from keyturn.app.oversight.show_stats import UNUSED_AFTER_S, Stats
from keyturn.app.records.sign_record import Logged, about
from keyturn.errors import Refused
from keyturn.formats import canonical_json
from keyturn.formats.digest import Sha256, sha256
from keyturn.formats.review import AccessReport, Review
from keyturn.grants.view import GateView
from keyturn.policy import persons
from keyturn.policy.load import Permit, Policy
from keyturn.trust.roster import TrustState

__all__ = ["REVIEW_EVERY_S", "Access", "AccessOfAll", "access_of_all", "attest_review"]

REVIEW_EVERY_S = UNUSED_AFTER_S


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """One permit. `could_approve` are the humans of its quorum's groups who could approve for at least one who may ask.

    Times are POSIX seconds, -1 for never; `unused`: nobody asked for it in 90 days.
    """

    permit: str
    break_glass: bool
    actions: tuple[str, ...]
    quorum: str
    asks: tuple[str, ...]
    could_approve: tuple[str, ...]
    asked_last: int
    granted_last: int
    unused: bool


class AccessOfAll(msgspec.Struct, frozen=True, kw_only=True):
    """Every permit, in order of name, with what the report is computed of; `publishers` can change all of it."""

    lab: str
    trust_version: int
    log_size: int
    as_of: int
    publishers: tuple[str, ...]
    permits: tuple[Access, ...]

    @property
    def sha256(self) -> Sha256:
        """The digest of its canonical JSON: what a review signs."""
        return sha256(canonical_json.encode(self))


@dataclass(frozen=True, slots=True)
class _Used:
    asked_last: int
    granted_last: int
    unused: bool


def access_of_all(view: GateView, policy: Policy, stats: Stats) -> AccessOfAll:
    """The report as of the checkpoint that `view` believes; `stats` are of the whole log (`show_stats`), at that time."""
    if view.checkpoint is None:
        raise Refused("view-empty", "nothing is witnessed yet, so there is nothing to review", hint="keyturn up")
    used = {
        one.permit: _Used(_or_never(one.asked_last), _or_never(one.granted_last), one.unused) for one in stats.permits
    }
    return AccessOfAll(
        lab=policy.lab,
        trust_version=policy.trust_version,
        log_size=view.frontier.size,
        as_of=view.checkpoint.cosigned_at,
        publishers=tuple(sorted(policy.publishers)),
        permits=tuple(_access(policy, permit, used[permit.id]) for _, permit in sorted(policy.permits.items())),
    )


def attest_review(found: AccessOfAll, hand: Hand, trust: TrustState, view: GateView, *, finding: str) -> Logged:
    """Sign and log that `found`, which was shown, was reviewed, and what came of it; by a human of the lab."""
    now = hand.clock.now()
    known = trust.roster.members.get(hand.member)
    if known is None or known.kind != "human":
        raise Refused("signer-not-human", f"`{hand.member}` is no human of the lab: only humans review")
    hand.require_unsuspended(view, now=now)
    made = Review(
        **hand.opening(trust, now=now),
        report=AccessReport(
            sha256=found.sha256, log_size=found.log_size, trust_version=found.trust_version, as_of=found.as_of
        ),
        finding=finding,
    )
    return hand.logs(made, about(found.sha256, name="access report"))


def _access(policy: Policy, permit: Permit, used: _Used) -> Access:
    return Access(
        permit=permit.id,
        break_glass=permit.break_glass,
        actions=tuple(sorted(permit.actions)),
        quorum=str(permit.quorum),
        asks=tuple(sorted(permit.asks)),
        could_approve=tuple(sorted(set(_could_approve(policy, permit)))),
        asked_last=used.asked_last,
        granted_last=used.granted_last,
        unused=used.unused,
    )


def _could_approve(policy: Policy, permit: Permit) -> Iterator[str]:
    groups = {member for term in permit.quorum.terms for member in policy.roster.members_of(term.group)}
    for asker in permit.asks:
        yield from persons.countable(policy.roster, groups, asker, asker)


def _or_never(at: int | None) -> int:
    return -1 if at is None else at
