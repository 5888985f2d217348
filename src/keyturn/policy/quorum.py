"""Parse a quorum, `"2 security"` or `"1 weights-owners + 1 security"`, and match different humans to it.

A quorum is met when every seat can be given to a different human of its group: one person in two groups takes one seat.
The matching is Kuhn's augmenting paths over at most `SEATS_MAX` seats.

This is NOT who may approve at all: see `policy.persons`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Self

from keyturn.errors import Refused

__all__ = ["SEATS_MAX", "Matching", "Quorum", "Shortfall", "Term", "match_quorum"]

SEATS_MAX = 16
_TEXT_MAX = 1000
_TERM = re.compile(r"([1-9][0-9]?) ([a-z0-9][a-z0-9._-]{0,62})\Z")


@dataclass(frozen=True, slots=True)
class Term:
    """`count` different humans of `group`."""

    count: int
    group: str

    def __str__(self) -> str:
        return f"{self.count} {self.group}"


@dataclass(frozen=True, slots=True)
class Quorum:
    """The terms, each group once, at least one seat and at most `SEATS_MAX`. Only `parse` makes one."""

    terms: tuple[Term, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `text`, or raise `Refused` `policy-quorum`."""
        if len(text) > _TEXT_MAX:
            raise Refused("policy-quorum", f"quorum: expected at most {_TEXT_MAX} characters, got {len(text)}")
        terms = []
        for part in text.split(" + "):
            found = _TERM.match(part)
            if found is None:
                raise Refused(
                    "policy-quorum",
                    f"quorum: expected `<count> <group>` joined by ` + ` with counts from 1, got `{text[:120]}`",
                )
            terms.append(Term(int(found[1]), found[2]))
        if len({term.group for term in terms}) != len(terms):
            raise Refused("policy-quorum", f"quorum: expected each group once, got `{text[:120]}`")
        if sum(term.count for term in terms) > SEATS_MAX:
            raise Refused("policy-quorum", f"quorum: expected at most {SEATS_MAX} approvals, got `{text[:120]}`")
        return cls(tuple(terms))

    @property
    def seats(self) -> tuple[str, ...]:
        """The group of each seat."""
        return tuple(term.group for term in self.terms for _ in range(term.count))

    @property
    def size(self) -> int:
        """How many different humans it takes."""
        return sum(term.count for term in self.terms)

    def __str__(self) -> str:
        return " + ".join(str(term) for term in self.terms)


@dataclass(frozen=True, slots=True)
class Matching:
    """The quorum is met: each seat by number, and who sits there."""

    quorum: Quorum
    seated: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shortfall:
    """The quorum is not met: how many seats of each group stay empty in a largest matching."""

    quorum: Quorum
    met: int
    missing: Mapping[str, int]

    def __str__(self) -> str:
        lacking = ", ".join(f"{count} of `{group}`" for group, count in self.missing.items())
        return f"{self.met} of {self.quorum.size} approvals; missing: {lacking}"


def match_quorum(
    quorum: Quorum, people: Iterable[str], members_of: Callable[[str], frozenset[str]]
) -> Matching | Shortfall:
    """Seat different `people` so that as many seats as possible are taken, each by a member of the seat's group."""
    candidates = sorted(set(people))
    groups = {group: members_of(group) for group in {term.group for term in quorum.terms}}
    seats = quorum.seats
    seat_of: dict[str, int] = {}

    def seat(number: int, tried: set[str]) -> bool:
        for person in candidates:
            if person in tried or person not in groups[seats[number]]:
                continue
            tried.add(person)
            if person not in seat_of or seat(seat_of[person], tried):
                seat_of[person] = number
                return True
        return False

    missing: dict[str, int] = {}
    for number, group in enumerate(seats):
        if not seat(number, set()):
            missing[group] = missing.get(group, 0) + 1
    if missing:
        return Shortfall(quorum, len(seat_of), MappingProxyType(missing))
    taken = {number: person for person, number in seat_of.items()}
    return Matching(quorum, tuple(taken[number] for number in range(len(seats))))
