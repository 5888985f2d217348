"""Obey what takes access away as soon as a gate is given it, before the log has it: a denial, revocation or suspension.

Whoever gives it to the gate is believed nothing: the record is verified under the trust of the gate's own view, by the rules by
which the log's records have their effect (`grants.following`), as if it were the log's next entry. What is obeyed lies over the
view, and never in it: the log is read in its own order, by every gate alike, and what a gate was given decides nothing there.

INVARIANT: this only takes away. It adds withdrawals and suspensions to what a view knows, each until its `until`, and removes or
alters nothing. Of a suspension that the log has by now, the log says whether it was lifted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from keyturn.errors import Refused, Unavailable
from keyturn.formats import records
from keyturn.formats.access import HumanAuthorization
from keyturn.formats.digest import Sha256
from keyturn.formats.leaf import NEGATIVES
from keyturn.formats.negatives import Revocation, Suspension
from keyturn.grants import checks, negatives
from keyturn.grants.bastion import bastion_gate_of
from keyturn.grants.following import Following
from keyturn.grants.known import Known, Suspended, Withdrawal
from keyturn.grants.view import GateView
from keyturn.trust.roster import TrustState

__all__ = ["Pushed", "has_read", "obeying", "read_pushed", "verify_pushed"]


@dataclass(frozen=True, slots=True)
class Pushed:
    """A denial, revocation or suspension: the record's digest, who signed it, and until when it stands (POSIX seconds)."""

    digest: Sha256
    by: str
    until: int
    made: HumanAuthorization | Revocation | Suspension

    @property
    def request(self) -> Sha256 | None:
        """The request that it ends; None for a suspension."""
        return None if isinstance(self.made, Suspension) else Sha256(self.made.request)


def read_pushed(raw: bytes) -> Pushed:
    """Read the envelope `raw` without verifying it: for a gate that kept what it had verified. `Refused` for other records."""
    record = records.parse(raw)
    made = record.statement.predicate
    if record.kind not in NEGATIVES:
        raise Refused("pushed-not-negative", f"`{record.id}` takes nothing away: gates hear of it from the log alone")
    if isinstance(made, HumanAuthorization):
        return Pushed(record.digest, made.approver, made.expires_at, made)
    return Pushed(record.digest, made.member, made.until, made)


def verify_pushed(raw: bytes, view: GateView, *, now: int) -> Pushed:
    """Verify `raw` under the trust of `view`, at `now`; what this gives, `obeying` obeys.

    Raises `Malformed` or `Refused` for what has no effect: signed by nobody of this lab who may, for another gate, over, dated
    ahead, lifted; `Unavailable` when the view knows no trust yet.
    """
    found = read_pushed(raw)
    trust = view.known.newest
    if trust is None:
        raise Unavailable("view-empty", "the gate has not read the lab's trust from the log yet")
    known = view.known.suspensions.get(found.digest)
    if known is not None and known.lifted:
        raise Refused("suspension-lifted", "the suspension was lifted")
    _require_of_its_time(found, trust, now=now)
    read = view.following(now=now)
    if known is None:
        read.take_pushed(raw)
    asked = view.known.requests.get(found.request or "")
    if asked is not None and bastion_gate_of(asked.raw) != str(view.gate):
        checks.require_addressed(asked.gate, str(view.gate), trust)
    _require_effect(found, read)
    return found


def has_read(view: GateView, pushed: Pushed) -> bool:
    """Whether `view` obeys `pushed` without being given it: the log has it, and it has its effect there."""
    known = view.known
    withdrawals = known.withdrawals.get(pushed.request or "", ())
    return pushed.digest in known.suspensions or any(one.digest == pushed.digest for one in withdrawals)


def obeying(view: GateView, pushed: Iterable[Pushed], *, now: int) -> GateView:
    """`view` with all of `pushed` obeyed besides, which `verify_pushed` gave. For decisions; the log is read on with `view`."""
    trust = view.known.newest
    if trust is None:
        return view
    withdrawals, suspensions = dict(view.known.withdrawals), dict(view.known.suspensions)
    for one in pushed:
        if one.until <= now:
            continue
        if isinstance(one.made, Suspension):
            suspensions.setdefault(one.digest, _suspended(one, one.made, trust))
            continue
        request, others = one.made.request, withdrawals.get(one.made.request, ())
        if all(other.digest != one.digest for other in others):
            kind: Literal["den", "rev"] = "den" if isinstance(one.made, HumanAuthorization) else "rev"
            withdrawals[request] = (*others, Withdrawal(kind, one.digest, one.by, one.made.reason, one.until))
    known: Known = replace(
        view.known, withdrawals=MappingProxyType(withdrawals), suspensions=MappingProxyType(suspensions)
    )
    return view.knowing(known)


def _require_of_its_time(found: Pushed, trust: TrustState, *, now: int) -> None:
    if found.until <= now:
        raise Refused("pushed-over", f"it was to stand until {found.until}, it is {now}")
    # As the log's admission has it (docs/decisions/0040): a denial by a clock that is ahead takes away all the same.
    if isinstance(found.made, Suspension) and found.made.signed_at > now + trust.limits.clock_skew_max_s:
        raise Refused(
            "signed-in-the-future",
            f"the record says that it was signed at {found.made.signed_at}, it is {now}",
            hint="set the clock of the machine that signed it",
        )
    lifetime_s = negatives.lifetime_max_s(trust)
    if found.until > now + lifetime_s:
        raise Refused(
            "lives-too-long",
            f"expected a record that is over within {lifetime_s} s, got one until {found.until}",
            hint="sign one that is over sooner: the log takes no other either",
        )


def _require_effect(found: Pushed, read: Following) -> None:
    """Refuse what was taken without an effect: an agent's withdrawal of a request whose parties could not be read."""
    after = read.known()
    taken = after.withdrawals.get(found.request or "", ())
    if found.digest not in after.suspensions and not any(one.by == found.by for one in taken):
        raise Unavailable("request-unread", f"whether `{found.by}` may end that request could not be found out")


def _suspended(one: Pushed, made: Suspension, trust: TrustState) -> Suspended:
    return Suspended(
        digest=one.digest,
        target=negatives.target_of(made),
        by=one.by,
        own=negatives.is_own(made, trust),
        reason=made.reason,
        signed_at=made.signed_at,
        until=made.until,
    )
