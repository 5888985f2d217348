"""Verify a break-glass grant: for the hour in which a repair cannot wait for the log, and never for less than two people.

1. parse; it is a break-glass request, over within an hour of its signature;
2. the view has this gate's nonce, and is at most `breakglass_view_age_max_s` old;
3. the requester is in the roster, not suspended, and signed, no later than now;
4. each approval, as `grants.verify_grant` has it, and none signed before the request;
5. persons, as there;
6. no suspension in the view, no revocation by who may (`grants.withdrawing`), no authorization that the view knows and the bundle
   lacks; a denial does not end it;
7. `decide`, under both policies, by a permit with @breakglass;
8. the window;
9. it need not be in the log;
10. this very gate and no ancestor, this session key, one resource, of which no others are part; one-shots have no such permit;
11. no other use of its members or its resource awaits review, in the log or in this gate's journal.

2 and 9 are all that it may do without, and 6 is all that it is spared. No policy can loosen the rest.

Whoever opens by it keeps the use in the gate's journal first, and logs request, approvals and use as soon as the log is there
(`gates.break_glass`). A use that nobody reviewed locks the next (`grants.reviews`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import InitVar, dataclass
from typing import NoReturn

from keyturn.crypto.keys import PublicKey
from keyturn.errors import Refused
from keyturn.formats.access import AccessRequest, BreakGlass
from keyturn.formats.uri import Uri
from keyturn.grants import checks, reviews
from keyturn.grants.agreed import require_agreed
from keyturn.grants.bundle import Bundle
from keyturn.grants.checks import Asked
from keyturn.grants.freshness import require_fresh
from keyturn.grants.known import BreakGlassUse
from keyturn.grants.verify_grant import Granted
from keyturn.grants.view import GateView
from keyturn.policy import persons
from keyturn.policy.facts import Facts
from keyturn.trust.roster import TrustState

__all__ = ["VerifiedBreakGlass", "verify_break_glass"]

_VERIFIER = object()


@dataclass(frozen=True, slots=True)
class VerifiedBreakGlass:
    """A break-glass grant that `verify_break_glass` verified for one gate at one time. `glass` is what its use says of it."""

    granted: Granted
    gate: Uri
    glass: BreakGlass
    made_by: InitVar[object]

    def __post_init__(self, made_by: object) -> None:
        if made_by is not _VERIFIER:
            raise TypeError("a VerifiedBreakGlass is made by verify_break_glass only")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a VerifiedBreakGlass is not pickled: keep the bundle, and verify it again")


def verify_break_glass(
    bundle: Bundle,
    view: GateView,
    *,
    now: int,
    gate: Uri,
    session_key: PublicKey | None,
    facts: Facts,
    journal: Iterable[BreakGlassUse],
) -> VerifiedBreakGlass:
    """Verify `bundle` for `gate` at `now` (POSIX seconds). `view` is the newest that the gate believed, however old.

    `journal` are the uses by break-glass that this gate opened by and has not seen in the log. Raises as `verify_grant` does.
    """
    # (1)
    asked = checks.parse_bundle(bundle)
    signed_at = _break_glass_at(asked)
    # (2)
    trust, checkpoint = require_fresh(view, now=now, break_glass=True)
    # (3) to (8), its own times first
    _require_times(asked, signed_at, skew_s=trust.limits.clock_skew_max_s, now=now)
    agreed = require_agreed(asked, view, trust, facts=facts, now=now)
    # (10)
    _require_one(asked.made, trust, view, gate=gate)
    checks.require_session_key(asked, session_key, gate=gate)
    # (11)
    members = persons.excluded(trust.roster, asked.made.requester, asked.made.beneficiary)
    reviews.require_unlocked(asked.digest, members, asked.made.resource, known=view.known, journal=journal, trust=trust)
    granted = Granted(
        digest=asked.digest,
        request=asked.made,
        subjects=asked.subjects,
        permit=agreed.allowed.permit,
        approvers=agreed.allowed.approvers,
        approvals=tuple(given.digest for given in asked.approving),
        window=agreed.window,
        profile=trust.profile,
        trust_version=trust.targets_version,
        log_size=checkpoint.checkpoint.size,
    )
    glass = BreakGlass(
        members=tuple(sorted(members)), approvers=tuple(sorted(agreed.people)), resource=asked.made.resource
    )
    return VerifiedBreakGlass(granted, gate, glass, _VERIFIER)


def _break_glass_at(asked: Asked) -> int:
    if asked.made.break_glass_at is None:
        raise Refused(
            "break-glass-none", "this is no break-glass request", hint="keyturn request ... --break-glass makes one"
        )
    return asked.made.break_glass_at


def _require_times(asked: Asked, signed_at: int, *, skew_s: int, now: int) -> None:
    """The request was signed by now, and no approval before it: what is dated ahead lives longer than an hour."""
    if signed_at > now + skew_s:
        raise Refused("break-glass-time", f"the request says that it was signed at {signed_at}, it is {now}")
    for given in asked.approving:
        made = given.made
        if made.signed_at < signed_at - skew_s:
            raise Refused(
                "break-glass-time", f"`{made.approver}` approved at {made.signed_at}, before the request of {signed_at}"
            )


def _require_one(made: AccessRequest, trust: TrustState, view: GateView, *, gate: Uri) -> None:
    if gate != view.gate:
        raise Refused("gate-other", f"the view is of `{view.gate}`, this is `{gate}`")
    if made.gate != str(gate):
        raise Refused("gate-other", f"the request is for `{made.gate}`, this is `{gate}`")
    parts = sorted(str(r.uri) for r in trust.resources.by_uri.values() if made.resource in map(str, r.parents))
    if parts or Uri.parse(made.resource).type == "hosts":
        raise Refused(
            "break-glass-several",
            f"`{made.resource}` is more than one resource{', as ' + parts[0] if parts else ''}",
            hint="break-glass is for one: name it",
        )
