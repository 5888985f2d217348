"""Say what people should be told of a use by break-glass: whoever could review it, at once, and each day until somebody did.

Nobody was asked before it opened but one coworker: everybody whom it skipped hears of it afterwards, and goes on hearing of it.
"""

from __future__ import annotations

from collections.abc import Iterator

from keyturn.app.notices.notice import Notice
from keyturn.app.notices.plain_notice import plain_name
from keyturn.formats.posix_time import duration, rfc3339
from keyturn.grants import reviews
from keyturn.grants.known import SECURITY, BreakGlassUse
from keyturn.trust.roster import TrustState

__all__ = ["AGAIN_S", "of_use"]

AGAIN_S = 86_400
"""How often people are told again of a use that nobody reviewed."""


def of_use(use: BreakGlassUse, told: int | None, trust: TrustState, *, now: int) -> tuple[Iterator[Notice], int]:
    """What is new of `use`, which awaits a review, and for how many days it has; `told` is the number that was told before."""
    days = max(0, now - use.used_at) // AGAIN_S
    return _new(use, days, trust) if told is None or days > told else iter(()), max(days, told or 0)


def _new(use: BreakGlassUse, days: int, trust: TrustState) -> Iterator[Notice]:
    name = f"brk-{use.digest[:32]}"
    shown = plain_name(use.resource.removeprefix(f"keyturn://{trust.lab}/"))
    by = ", ".join(sorted(use.members))
    waits = f"Nobody has reviewed it for {duration(days * AGAIN_S)}. " if days else ""
    yield Notice(
        event=f"{name}/unreviewed:{days}",
        title=f"[{trust.lab}] break-glass: {shown} by {by}{' is not reviewed' if days else ''}",
        body=f"At {rfc3339(use.used_at)}, approved by {', '.join(sorted(use.approvers))}. {waits}Until somebody who took no part "
        f"reviews it, it locks further break-glass.\nlook: keyturn grant review {name}",
        members=frozenset(reviews.could_review(trust, use)),
        groups=frozenset({SECURITY}),
        urgent=True,
    )
