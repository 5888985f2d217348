"""Say in one word what became of a request, live or long over, from the records that followed it and count.

The word is a state of `grants.lifecycle`, computed by the policy that the request names. A gate asks more (facts, its own view,
the policy of its day): this says what people did, and when the request's time was over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from keyturn.app.log.judge_record import Judged
from keyturn.errors import KeyturnError
from keyturn.formats.access import AccessRequest, AccessUse, HumanAuthorization
from keyturn.formats.negatives import Revocation
from keyturn.grants import lifecycle
from keyturn.grants.lifecycle import Event
from keyturn.grants.view import PolicyShelf
from keyturn.grants.window import Window, window_of
from keyturn.grants.withdrawing import may_end
from keyturn.trust.roster import TrustState

__all__ = ["what_became"]


def what_became(
    made: AccessRequest, asked: Judged, found: Sequence[Judged], trust: TrustState | None, *, now: int
) -> str:
    """The state of the request `made` at `now`, after the records `found`; `refused` when its own signature does not count."""
    if not asked.counts or trust is None:
        return "refused"
    return lifecycle.run(_events(made, found, trust, now=now))


def _events(made: AccessRequest, found: Sequence[Judged], trust: TrustState, *, now: int) -> Iterator[Event]:
    given = [one.predicate for one in found if isinstance(one.predicate, HumanAuthorization)]
    signed = {one.approver: one.signed_at for one in given if one.decision == "approve"}
    window = _window(made, signed, trust)
    ended = min(_ends(made, found, trust), default=None)
    over_at = made.start_by if window is None else window.ends_at
    if ended is not None and ended[0] >= over_at:
        ended = None  # it was over already
    for _ in signed:
        yield "approve"
    if window is not None:
        yield "quorum"
        if now >= window.starts_at and (ended is None or ended[0] >= window.starts_at):
            yield "open"
            if any(isinstance(one.predicate, AccessUse) for one in found):
                yield "use"
    if ended is not None:
        yield ended[1]
    elif window is None and now > made.start_by:
        yield "lapse"
    elif window is not None and now >= window.ends_at:
        yield "close"


def _ends(made: AccessRequest, found: Sequence[Judged], trust: TrustState) -> Iterator[tuple[int, Event]]:
    for one in found:
        match one.predicate:
            case HumanAuthorization(decision="deny") as denied if made.break_glass_at is None:
                yield denied.signed_at, "deny"
            case Revocation() as revoked if made.break_glass_at is None or may_end(revoked.member, made, trust):
                yield revoked.signed_at, "revoke"
            case _:
                continue


def _window(made: AccessRequest, signed: dict[str, int], trust: TrustState) -> Window | None:
    try:
        policy = PolicyShelf().policy(trust)
        return window_of(made, signed, (policy,)) if made.permit in policy.permits else None
    except KeyturnError:
        return None  # not met, missed, or a policy that does not load: it never opened
