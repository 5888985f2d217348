"""Review a use by break-glass, as a second person: what was done, why, by whose word; then it locks nothing any more.

A use is listed until somebody who took no part in it has signed that he looked at it. What it was for stands in its request,
which the gate logged with it.
"""

from __future__ import annotations

from dataclasses import dataclass

from keyturn.app.access.take_away import Hand
from keyturn.app.records.find_record import only_one, record_prefix
from keyturn.app.records.sign_record import Logged, about
from keyturn.errors import Refused
from keyturn.formats import records
from keyturn.formats.access import AccessRequest
from keyturn.formats.posix_time import rfc3339
from keyturn.formats.review import Review
from keyturn.grants import reviews
from keyturn.grants.known import BreakGlassUse, Known
from keyturn.grants.view import GateView
from keyturn.trust.roster import TrustState

__all__ = ["AwaitsReview", "find_unreviewed", "request_behind", "review_use", "unreviewed"]


@dataclass(frozen=True, slots=True)
class AwaitsReview:
    """A use by break-glass that nobody has reviewed, and the humans who could."""

    id: str
    use: BreakGlassUse
    could_review: tuple[str, ...]

    @property
    def text(self) -> str:
        use = self.use
        who = ", ".join(sorted(use.members))
        return f"{self.id}: {use.resource} by {who} at {rfc3339(use.used_at)}, approved by {', '.join(sorted(use.approvers))}"


def unreviewed(view: GateView) -> tuple[AwaitsReview, ...]:
    """Every use by break-glass that awaits a review, the oldest first."""
    trust = view.known.newest
    found = sorted(view.known.unreviewed.values(), key=lambda use: (use.used_at, use.digest))
    return tuple(
        AwaitsReview(records.record_id("brk", use.digest), use, reviews.could_review(trust, use) if trust else ())
        for use in found
    )


def find_unreviewed(view: GateView, text: str) -> AwaitsReview:
    """The use that `text` (`brk-` and 8 to 64 digits) names and that awaits a review."""
    _, prefix = record_prefix(text, ("brk",))
    found = [one for one in unreviewed(view) if one.use.digest.startswith(prefix)]
    if not found:
        raise Refused(
            "break-glass-unknown",
            f"no use by break-glass `{text[:80]}` awaits a review",
            hint="keyturn grant unreviewed",
        )
    return only_one(text, found)


def request_behind(known: Known, use: BreakGlassUse) -> AccessRequest | None:
    """The request of `use` as the log has it (`known` is of the whole log); None when the log never took it."""
    asked = known.requests.get(use.request)
    if asked is None or asked.raw is None:
        return None
    made: AccessRequest = records.parse(asked.raw).statement.predicate
    return made


def review_use(found: AwaitsReview, hand: Hand, trust: TrustState, view: GateView, *, finding: str) -> Logged:
    """Sign and log what was found on looking at `found`; refused here when it would end no lock."""
    now = hand.clock.now()
    hand.require_unsuspended(view, now=now)
    reviews.require_may_review(hand.member, trust, found.use)
    made = Review(
        **hand.opening(trust, now=now),
        use=found.use.digest,
        finding=finding,
    )
    return hand.logs(made, about(found.use.digest, name=found.id))
