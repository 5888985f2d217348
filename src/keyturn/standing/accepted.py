"""Verify the acceptances of a door, and say whether two people of the lab let it stand open.

1. parse; it is of this lab;
2. the view is recent, and its trust in force;
3. it is of this very door: the place, the finding's digest, what was seen there in each word, and since when it stands open;
4. it was not signed later than now, is not over, and was for 90 days at most;
5. a human of the lab, not suspended, who signed with a key by which he could approve.

A door is accepted when two different humans signed the same end and the same reason. Whatever does not count leaves it open, and
is reported with its code. This decides nothing but what a scan reports, and its exit status: no gate reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import InitVar, dataclass, replace
from typing import Literal, NoReturn

from keyturn.crypto.credentials import Credential
from keyturn.errors import KeyturnError, Refused
from keyturn.formats import standing_acceptance
from keyturn.formats.digest import Sha256
from keyturn.formats.posix_time import rfc3339
from keyturn.formats.standing_acceptance import StandingAcceptance
from keyturn.grants.approvers import require_countable_key, verify_approval
from keyturn.grants.freshness import require_recent
from keyturn.grants.view import GateView
from keyturn.standing.ledger import Standing
from keyturn.trust.roster import TrustState

__all__ = [
    "ACCEPTED_MAX_S",
    "Judge",
    "Judged",
    "Signed",
    "State",
    "VerifiedAcceptance",
    "require_end",
    "require_signer",
    "verify_acceptance",
]

ACCEPTED_MAX_S = 90 * 86_400
SIGNERS = 2
"""Humans that it takes to let a door stand open."""

State = Literal["open", "half-accepted", "accepted"]

_VERIFIER = object()
_ANEW = "close the door; or look at what it opens, and accept that: keyturn scan accept"


@dataclass(frozen=True, slots=True)
class VerifiedAcceptance:
    """An acceptance that `verify_acceptance` verified for one door at one time."""

    made: StandingAcceptance
    digest: Sha256
    made_by: InitVar[object]

    def __post_init__(self, made_by: object) -> None:
        if made_by is not _VERIFIER:
            raise TypeError("a VerifiedAcceptance is made by verify_acceptance only")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a VerifiedAcceptance is not pickled: keep the envelope, and verify it again")


@dataclass(frozen=True, slots=True)
class Signed:
    """What a report says of one acceptance that is kept: who signed, or says so; `code` and `why` when it does not count.

    Of one that cannot be read, all but these are empty.
    """

    member: str = ""
    key: str = ""
    signed_at: int = 0
    until: int = 0
    reason: str = ""
    code: str = ""
    why: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Judged:
    """Whether a door stands open, by whose word until when if not, and every acceptance that is kept of it."""

    state: State = "open"
    by: tuple[str, ...] = ()
    until: int = 0
    reason: str = ""
    signed: tuple[Signed, ...] = ()


def verify_acceptance(raw: bytes, view: GateView, *, place: str, standing: Standing, now: int) -> VerifiedAcceptance:
    """Verify that the acceptance `raw` is of the door `standing` at `place`, and counts at `now` (POSIX seconds)."""
    # (1)
    envelope, made = standing_acceptance.parse(raw)
    # (2)
    trust = require_recent(view, now=now)
    if made.lab != trust.lab:
        raise Refused("lab-other", f"expected an acceptance of lab `{trust.lab}`, got one of `{made.lab}`")
    # (3)
    _require_this_door(made, place, standing)
    # (4)
    if made.signed_at > now + trust.limits.clock_skew_max_s:
        raise Refused(
            "acceptance-early",
            f"it says that it was signed at {rfc3339(made.signed_at)}, it is {rfc3339(now)}",
            hint="set whichever clock is wrong, and sign another",
        )
    if now >= made.until:
        raise Refused("acceptance-over", f"it ended at {rfc3339(made.until)}", hint=_ANEW)
    require_end(made.until, signed_at=made.signed_at)
    # (5)
    held = require_signer(made.member, made.key, view, trust, now=now)
    verify_approval(envelope, held, trust)
    return VerifiedAcceptance(made, envelope.record_digest, _VERIFIER)


def _require_this_door(made: StandingAcceptance, place: str, standing: Standing) -> None:
    finding = standing.finding
    if made.place != place:
        raise Refused("acceptance-place", f"it is of a door of `{made.place}`, this is `{place}`", hint=_ANEW)
    if made.finding != finding.digest(place):
        raise Refused(
            "acceptance-other-door",
            f"it is of `fnd-{made.finding[:32]}`, this is `{finding.id(place)}`",
            hint=_ANEW,
        )
    said = (made.code, made.where, made.opens, made.to, made.severity)
    if said != (finding.code, finding.where, finding.opens, finding.to, finding.severity):
        raise Refused(
            "acceptance-other-words",
            f"whoever signed it was shown `{made.opens}` to `{made.to}`, and it opens `{finding.opens}` to `{finding.to}`",
            hint=_ANEW,
        )
    if made.first_seen != standing.first_seen:
        raise Refused(
            "acceptance-reopened",
            f"it is of a door that was open since {rfc3339(made.first_seen)}, and this one is since "
            f"{rfc3339(standing.first_seen)}: it was closed in between, or another ledger found it",
            hint=_ANEW,
        )


def require_end(until: int, *, signed_at: int) -> None:
    """Refuse an end that is further from `signed_at` than doors may stand open."""
    if not signed_at < until <= signed_at + ACCEPTED_MAX_S:
        raise Refused(
            "acceptance-until",
            f"expected an end between now and {ACCEPTED_MAX_S // 86_400} days from now, got {rfc3339(until)}",
            hint="accept it for a shorter time, or close the door: `keyturn scan show`",
        )


def require_signer(member: str, keyid: str, view: GateView, trust: TrustState, *, now: int) -> Credential:
    """The key `keyid` of the human `member`, if he could accept a door with it at `now`."""
    held = require_countable_key(trust, member, keyid)
    view.known.require_unsuspended(member, keyid, now=now, what="signer")
    return held


class Judge:
    """Judges doors by one view of the lab, which is asked for when the first acceptance is to be verified, and once."""

    def __init__(self, view: Callable[[], GateView], *, now: int) -> None:
        self._ask, self._now = view, now
        self._view: GateView | KeyturnError | None = None

    def __call__(self, place: str, standing: Standing) -> Judged:
        """What the acceptances that are kept with `standing` come to."""
        counted: list[StandingAcceptance] = []
        signed = []
        for kept in standing.acceptances:
            said = Signed()
            try:
                said = _said(kept)
                counted.append(self.verified(kept.encode(), place, standing).made)
            except KeyturnError as err:
                said = replace(said, code=err.code, why=err.message, hint=err.hint)
            signed.append(said)
        best = _best(counted)
        if not best:
            return Judged(signed=tuple(signed))
        state: State = "accepted" if len(best) >= SIGNERS else "half-accepted"
        by = tuple(sorted(best))
        first = best[by[0]]
        return Judged(state, by, first.until, first.reason, tuple(signed))

    def verified(self, raw: bytes, place: str, standing: Standing) -> VerifiedAcceptance:
        """As `verify_acceptance`, by this judge's view."""
        return verify_acceptance(raw, self._lab(), place=place, standing=standing, now=self._now)

    def _lab(self) -> GateView:
        if self._view is None:
            try:
                self._view = self._ask()
            except KeyturnError as err:
                self._view = err
        if isinstance(self._view, KeyturnError):
            raise self._view
        return self._view


def _said(kept: str) -> Signed:
    made = standing_acceptance.parse(kept.encode())[1]
    return Signed(made.member, made.key, made.signed_at, made.until, made.reason)


def _best(counted: Iterable[StandingAcceptance]) -> dict[str, StandingAcceptance]:
    """Of those that agree to the same end and reason, as many humans as there are; of as many, the newest; each human once."""
    agreed: dict[tuple[int, str], dict[str, StandingAcceptance]] = {}
    for made in counted:
        agreed.setdefault((made.until, made.reason), {})[made.member] = made
    return max(
        agreed.values(), key=lambda by: (min(len(by), SIGNERS), max(one.signed_at for one in by.values())), default={}
    )
