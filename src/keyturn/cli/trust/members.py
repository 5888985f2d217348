"""`keyturn trust members`: who belongs to the lab now, in which groups, with which keys.

Mounted under `trust` by its module. It shows the roster in force, nothing of a draft or of what
awaits signatures (`trust show`), and says nothing of suspensions (`trust suspended`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from keyturn.cli import output
from keyturn.cli.options import Json, Lab

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["members"]


@dataclass(frozen=True, slots=True)
class _Key:
    kind: str
    keyid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Member:
    """A member as it is listed; `groups` counts those that nest its own."""

    id: str
    kind: str
    name: str
    groups: tuple[str, ...]
    responsible: tuple[str, ...]
    keys: tuple[_Key, ...]


def members(lab: Lab = None, json: Json = False) -> None:
    """List the members in force: their groups, who answers for them, their keys; and who signs changes of trust."""
    from keyturn.wiring.lab.places import find_lab
    from keyturn.wiring.log.log import log_reader, trust_behind

    place = find_lab(lab)
    with log_reader(place) as reader:
        state = trust_behind(place, reader).newest
    roster = state.roster
    found = [
        _Member(
            id=member.id,
            kind=member.kind,
            name=member.name,
            groups=tuple(sorted(name for name in roster.groups if member.id in roster.members_of(name))),
            responsible=tuple(sorted(member.responsible)),
            keys=tuple(_Key(held.kind, held.keyid) for held in member.keys),
        )
        for member in sorted(roster.members.values(), key=lambda one: one.id)
    ]
    publishers = sorted(state.publishers)
    output.emit(
        {"lab": state.lab, "trust_version": state.targets_version, "members": found, "publishers": publishers},
        json=json,
        human=lambda screen: _listed(screen, found, publishers, state.targets_version),
    )


def _listed(screen: Console, found: list[_Member], publishers: list[str], trust_version: int) -> None:
    cells = [
        (
            one.id,
            one.kind,
            ", ".join(one.groups) or "-",
            ", ".join(one.responsible) or "-",
            ", ".join(f"{held.kind} {held.keyid[:16]}" for held in one.keys),
        )
        for one in found
    ]
    output.rows(screen, ("member", "kind", "groups", "responsible", "keys"), cells)
    screen.print(output.plain(f"who signs changes of trust: {', '.join(publishers)}"))
    screen.print(f"trust version {trust_version}")
