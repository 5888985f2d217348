"""Compute when a grant is open: a function of the request and the approvals that nobody chooses and nothing counts down.

It starts at the earliest instant, not before `not_before` and not after `start_by`, when the approvals signed by then met the
quorum; it lasts `duration_s`, and never past `not_after`. Renewal is a new request.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from keyturn.errors import Refused
from keyturn.formats.access import AccessRequest
from keyturn.policy import persons
from keyturn.policy.load import Policy
from keyturn.policy.quorum import Matching, match_quorum

__all__ = ["Window", "window_of"]


@dataclass(frozen=True, slots=True)
class Window:
    """Open while `starts_at <= now < ends_at` (POSIX seconds)."""

    starts_at: int
    ends_at: int

    def require_open(self, *, now: int) -> None:
        """Refuse before the start and from the end on."""
        if now < self.starts_at:
            raise Refused("window-not-yet", f"the grant opens at {self.starts_at}, it is {now}")
        if now >= self.ends_at:
            raise Refused(
                "window-over",
                f"the grant ended at {self.ends_at}, it is {now}",
                hint="ask again: a renewal names the old request",
            )


def window_of(request: AccessRequest, signed_at: Mapping[str, int], policies: Iterable[Policy]) -> Window:
    """The window of `request`, approved by each human at `signed_at`, or `Refused`; with several policies, the latest start."""
    starts_at = max((_met_at(policy, request, signed_at) for policy in policies), default=request.not_before)
    starts_at = max(starts_at, request.not_before)
    if starts_at > request.start_by:
        raise Refused("window-missed", f"the quorum was met at {starts_at}, after start_by {request.start_by}")
    return Window(starts_at, min(starts_at + request.duration_s, request.not_after))


def _met_at(policy: Policy, request: AccessRequest, signed_at: Mapping[str, int]) -> int:
    quorum = policy.permits[request.permit].quorum
    counted = persons.countable(policy.roster, signed_at, request.requester, request.beneficiary)
    for instant in sorted({signed_at[person] for person in counted}):
        people = [person for person in counted if signed_at[person] <= instant]
        # So few cannot meet it, and there is no need to look for a matching.
        if len(people) < quorum.size:
            continue
        if isinstance(match_quorum(quorum, people, policy.roster.members_of), Matching):
            return instant
    raise Refused("quorum-not-met", f"permit `{request.permit}` needs {quorum}")
