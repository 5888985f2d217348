"""Say where each notice goes: to the places of the members and groups that it names, or to those of a deputy.

A deputy is told, and nothing else: no vote, no right and no quorum moves with a notice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from keyturn.app.notices.notice import Notice
from keyturn.formats.posix_time import rfc3339
from keyturn.trust.roster import TrustState

__all__ = ["AddressBook", "Away", "Delivery", "Place", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A receiver by name: one member's, or a group's. A `paging` one gets what is urgent, and nothing else."""

    name: str
    member: str | None
    group: str | None
    paging: bool


@dataclass(frozen=True, slots=True)
class Away:
    """Until then (POSIX seconds), `deputy` is told instead."""

    deputy: str
    until: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """One notice on its way to one receiver."""

    event: str
    receiver: str
    title: str
    body: str


@dataclass(frozen=True, slots=True)
class AddressBook:
    """The places, and who is away, by member."""

    places: tuple[Place, ...]
    away: Mapping[str, Away] = field(default_factory=lambda: MappingProxyType({}))

    def route(self, notice: Notice, *, now: int) -> tuple[Delivery, ...]:
        """The deliveries of `notice`, one for each place; none when none of those whom it is for has one."""
        found: dict[str, list[str]] = {}
        for member in sorted(notice.members):
            told = self._told_instead(member, now)
            for place in self._of(told, notice):
                note = found.setdefault(place.name, [])
                if told != member:
                    note.append(
                        f"for {member}, who is away until {rfc3339(self.away[member].until)}: a deputy is told, and votes for "
                        "nobody else"
                    )
        for place in self.places:
            if place.group in notice.groups and (notice.urgent or not place.paging):
                found.setdefault(place.name, [])
        return tuple(
            Delivery(notice.event, name, notice.title, "\n".join((notice.body, *notes)))
            for name, notes in found.items()
        )

    def _of(self, member: str, notice: Notice) -> Iterable[Place]:
        return (p for p in self.places if p.member == member and (notice.urgent or not p.paging))

    def _told_instead(self, member: str, now: int) -> str:
        """Who is told for `member`: a deputy who is away too has one himself; whoever nobody stands in for is told himself."""
        at, passed = member, {member}
        while (away := self.away.get(at)) is not None and away.until > now:
            at = away.deputy
            if at in passed:
                return member
            passed.add(at)
        return at if any(place.member == at for place in self.places) else member


def unknown(book: AddressBook, trust: TrustState, *, groups: Iterable[str] = ()) -> tuple[str, ...]:
    """Say which members and groups of `book`, and which of the `groups` that are told later, `trust` does not list.

    The lab changes under its notifier, so this is no error of a running one: the others are told all the same.
    """
    roster, version = trust.roster, trust.targets_version
    said = []
    for place in book.places:
        if place.member is not None and place.member not in roster.members:
            said.append(f"receiver `{place.name}`: trust version {version} lists no member `{place.member}`")
        if place.group is not None and place.group not in roster.groups:
            said.append(f"receiver `{place.name}`: trust version {version} has no group `{place.group}`")
    for group in groups:
        if group not in roster.groups:
            said.append(f"escalation: trust version {version} has no group `{group}`")
    for member, away in book.away.items():
        for one in (member, away.deputy):
            if one not in roster.members:
                said.append(f"away: trust version {version} lists no member `{one}`")
    return tuple(said)
