"""Say which denials and revocations of a request end it.

Of an ordinary request each does: one human is enough. A break-glass request is for the hour in which one stolen key must not be
able to stop a repair: no denial ends it, and it is revoked by its own parties, or by a human of `security`. Suspensions of its
people, and the closing of its gate, end it as they end everything.
"""

from __future__ import annotations

from collections.abc import Iterator

from keyturn.formats.access import AccessRequest
from keyturn.grants.known import SECURITY, Known, Withdrawal
from keyturn.trust.roster import TrustState

__all__ = ["ending", "may_end"]


def ending(known: Known, digest: str, made: AccessRequest, *, now: int) -> Iterator[Withdrawal]:
    """The denials and revocations that are `known` of the request `made`, and that end it at `now`."""
    for withdrawn in known.withdrawals.get(digest, ()):
        ends = withdrawn.kind == "rev" and may_end(withdrawn.by, made, known.newest)
        if withdrawn.until > now and (ends or made.break_glass_at is None):
            yield withdrawn


def may_end(member: str, made: AccessRequest, trust: TrustState | None) -> bool:
    """Whether a revocation by `member` would end the break-glass request `made`."""
    parties = {made.requester, made.beneficiary}
    return member in parties or (trust is not None and member in trust.roster.members_of(SECURITY))
