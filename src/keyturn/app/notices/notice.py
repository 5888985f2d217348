"""Hold one notification before it is addressed: what happened, in plain text, and whom it is for.

A notice says where to look, and approves nothing. Text that somebody wrote is in it as `plain_notice` makes it.
"""

from __future__ import annotations

from dataclasses import dataclass

from keyturn.app.notices.plain_notice import plain_text
from keyturn.trust.roster import TrustState

__all__ = ["Notice", "humans_of", "says"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One thing to tell, to members by id and to groups by name. The same `event` goes to one place once."""

    event: str
    title: str
    body: str
    members: frozenset[str]
    groups: frozenset[str] = frozenset()
    urgent: bool = False


def says(who: str, text: str) -> str:
    """What `who` wrote, as a quotation on one line."""
    return f'{who} writes: "{plain_text(text)}"' if text.strip() else f"{who} gives no reason."


def humans_of(trust: TrustState, group: str) -> frozenset[str]:
    """The humans of `group`, nested groups included."""
    members = trust.roster.members
    return frozenset(one for one in trust.roster.members_of(group) if members[one].kind == "human")
