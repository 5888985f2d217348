"""Report what stands open without a grant, and tell of what is new: from the ledger of the machine that scans.

A report hides nothing: what two people accepted is in it, as accepted, and an acceptance that does not count, with why. News is
whatever no receiver took yet. How people accept: `app.oversight.accept_door`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from keyturn.app.notices.plain_notice import plain_name
from keyturn.formats.posix_time import rfc3339
from keyturn.standing.accepted import Judged, Signed, State
from keyturn.standing.ledger import Ledger, Place, Standing

__all__ = ["Acceptance", "Door", "Judging", "Verdict", "doors", "news", "news_of", "verdict"]

_TOLD_MAX = 20

Verdict = Literal["closed", "open", "unknown"]
"""`open` when a door stands open that nobody accepted; `unknown` when there is none but something could not be looked at."""


Judging = Callable[[str, Standing], Judged]
"""Says of a door at a place what its acceptances come to: `standing.accepted.Judge`."""


@dataclass(frozen=True, slots=True)
class Acceptance:
    """One acceptance that is kept of a door: what it says, and why it does not count; `code` is empty when it does."""

    by: str
    key: str
    signed_at: str
    until: str
    reason: str
    code: str
    why: str
    hint: str


@dataclass(frozen=True, slots=True)
class Door:
    """One finding as people see it. Times are RFC 3339."""

    id: str
    place: str
    severity: str
    code: str
    where: str
    opens: str
    to: str
    close: str
    owner: str
    first_seen: str
    last_seen: str
    state: State
    accepted_by: tuple[str, ...]
    accepted_until: str
    reason: str
    acceptances: tuple[Acceptance, ...]


def doors(places: Iterable[Place], judge: Judging, *, since: int = 0) -> tuple[Door, ...]:
    """Every finding at `places` that was first seen at `since` or later."""
    return tuple(
        _door(place.name, one, judge(place.name, one))
        for place in places
        for one in place.standing
        if one.first_seen >= since
    )


def verdict(found: Iterable[Door]) -> Verdict:
    """Whether `found` leaves anything open."""
    left = {one.severity for one in found if one.state != "accepted"}
    return "open" if left - {"unknown"} else "unknown" if left else "closed"


def news_of(ledger: Ledger, place: str) -> tuple[Standing, ...]:
    """What no receiver took yet, and nobody accepted when it was scanned."""
    at = ledger.place(place)
    return () if at is None else tuple(one for one in at.standing if one.told_at is None and not one.quiet)


def news(place: str, found: tuple[Standing, ...]) -> tuple[str, str]:
    """Title and text of a notification: what others named is in it without markup, links or escapes."""
    lines = [
        f"{one.finding.severity} {one.finding.code}: {plain_name(one.finding.at)}: "
        f"{plain_name(one.finding.opens)}; for {plain_name(one.finding.to)}; {one.finding.id(place)[:12]}"
        for one in found[:_TOLD_MAX]
    ]
    if len(found) > _TOLD_MAX:
        lines.append(f"and {len(found) - _TOLD_MAX} more")
    owners = ", ".join(sorted({one.owner for one in found if one.owner})) or "nobody"
    title = f"standing access: {len(found)} new at {plain_name(place)}"
    return title, "\n".join((*lines, f"to close by: {plain_name(owners)}; look: keyturn scan show"))


def _door(place: str, one: Standing, judged: Judged) -> Door:
    return Door(
        id=one.finding.id(place),
        place=place,
        severity=one.finding.severity,
        code=one.finding.code,
        where=one.finding.at,
        opens=one.finding.opens,
        to=one.finding.to,
        close=one.finding.close,
        owner=one.owner,
        first_seen=rfc3339(one.first_seen),
        last_seen=rfc3339(one.last_seen),
        state=judged.state,
        accepted_by=judged.by,
        accepted_until=rfc3339(judged.until) if judged.by else "",
        reason=judged.reason,
        acceptances=tuple(map(_acceptance, judged.signed)),
    )


def _acceptance(said: Signed) -> Acceptance:
    return Acceptance(
        by=said.member,
        key=said.key,
        signed_at=rfc3339(said.signed_at) if said.member else "",
        until=rfc3339(said.until) if said.member else "",
        reason=said.reason,
        code=said.code,
        why=said.why,
        hint=said.hint,
    )
