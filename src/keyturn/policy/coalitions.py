"""Count who together could ever get through each permit: the smallest coalitions, by membership class, with an example of each.

A coalition is one member who may ask and the humans who then meet the quorum. Whoever can be exchanged for another without
changing anything is of the same class, so thousands of people make a few lines. Every `when` is taken as true and forbids
are left out: the report shows too many coalitions rather than too few. Whoever can publish root or targets can rewrite
everything, and is always listed, as a coalition for everything.

Tests hold this against brute force over all subsets of small rosters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import comb
from types import MappingProxyType

from keyturn.policy import persons
from keyturn.policy.load import Permit, Policy
from keyturn.policy.quorum import Matching, match_quorum

__all__ = ["Change", "Coalition", "PermitReport", "Report", "diff", "report"]

EXAMINED_MAX = 20_000
"""Class combinations looked at for one permit; beyond, the report says that it is incomplete."""

_Class = tuple[str, bool, frozenset[str], frozenset[str]]
"""Kind of member, whether it may ask, the groups of the quorum that it is in, and marks that a caller wants told apart."""

_NO_MARKS: Mapping[str, frozenset[str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, order=True)
class Coalition:
    """`count` coalitions made of the same classes: (class in words, how many of it). `example` names one of them."""

    classes: tuple[tuple[str, int], ...]
    count: int
    example: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PermitReport:
    """Who can get through one permit. `size` is how many it takes, None when nobody ever can."""

    permit: Permit
    size: int | None
    coalitions: tuple[Coalition, ...]
    complete: bool

    @property
    def count(self) -> int:
        return sum(coalition.count for coalition in self.coalitions)


@dataclass(frozen=True, slots=True)
class Report:
    """Every permit's coalitions, and the publishers: a threshold of them is a coalition for everything."""

    publishers: tuple[str, ...]
    permits: Mapping[str, PermitReport]


@dataclass(frozen=True, slots=True)
class Change:
    """What a change of policy does to one permit: `opens` when more people, or fewer of them, can now get through."""

    permit: str
    opens: bool
    texts: tuple[str, ...]


def report(policy: Policy) -> Report:
    """Find the smallest coalitions of every permit of `policy`."""
    return Report(
        tuple(sorted(policy.publishers)),
        {name: _permit_report(policy, permit) for name, permit in sorted(policy.permits.items())},
    )


def _permit_report(policy: Policy, permit: Permit, marks: Mapping[str, frozenset[str]] = _NO_MARKS) -> PermitReport:
    groups = {term.group: policy.roster.members_of(term.group) for term in permit.quorum.terms}
    humans: dict[_Class, list[str]] = {}
    for member in sorted(policy.roster.members.values(), key=lambda m: m.id):
        inside = frozenset(group for group, members in groups.items() if member.id in members)
        asks = member.id in permit.asks
        if member.kind == "human" and (asks or inside):
            humans.setdefault(("human", asks, inside, marks.get(member.id, frozenset())), []).append(member.id)
    found: dict[tuple[tuple[_Class, int], ...], tuple[int, tuple[str, ...]]] = {}
    budget = _Budget(EXAMINED_MAX)
    for chosen in _multisets(humans, permit.quorum.size + 1, budget):
        people = _pick(humans, chosen)
        for member_class, _ in chosen:
            asker = humans[member_class][0]
            if member_class[1] and _meets(policy, permit, frozenset(people) - {asker}):
                found[chosen] = (_count(humans, chosen), people)
                break
    for asker in sorted(permit.asks):
        known = policy.roster.members[asker]
        if known.kind == "human":
            continue
        out = persons.excluded(policy.roster, asker, asker)
        pool = {c: left for c, ids in humans.items() if (left := [m for m in ids if m not in out])}
        for chosen in _multisets(pool, permit.quorum.size, budget):
            people = _pick(pool, chosen)
            if _meets(policy, permit, frozenset(people)):
                key = (((known.kind, True, frozenset(), marks.get(asker, frozenset())), 1), *chosen)
                count, example = found.get(key, (0, (asker, *people)))
                found[key] = (count + _count(pool, chosen), example)
    coalitions = sorted(
        Coalition(tuple((_words(c), number) for c, number in classes), count, example)
        for classes, (count, example) in found.items()
    )
    return PermitReport(permit, permit.quorum.size + 1 if coalitions else None, tuple(coalitions), budget.left > 0)


@dataclass(slots=True)
class _Budget:
    left: int


def _multisets(
    pool: Mapping[_Class, list[str]], size: int, budget: _Budget
) -> Iterator[tuple[tuple[_Class, int], ...]]:
    """Every way to take `size` people, by how many of each class; in a stable order."""
    classes = sorted(pool, key=lambda c: (c[0], c[1], sorted(c[2]), sorted(c[3])))

    def take(position: int, left: int) -> Iterator[tuple[tuple[_Class, int], ...]]:
        if left == 0:
            yield ()
            return
        if position == len(classes):
            return
        here = classes[position]
        for number in range(min(left, len(pool[here])), -1, -1):
            for rest in take(position + 1, left - number):
                yield ((here, number), *rest) if number else rest

    for chosen in take(0, size):
        if budget.left <= 0:
            return
        budget.left -= 1
        yield chosen


def _pick(pool: Mapping[_Class, list[str]], chosen: tuple[tuple[_Class, int], ...]) -> tuple[str, ...]:
    return tuple(person for c, number in chosen for person in pool[c][:number])


def _count(pool: Mapping[_Class, list[str]], chosen: tuple[tuple[_Class, int], ...]) -> int:
    total = 1
    for c, number in chosen:
        total *= comb(len(pool[c]), number)
    return total


def _meets(policy: Policy, permit: Permit, approvers: frozenset[str]) -> bool:
    return isinstance(match_quorum(permit.quorum, approvers, policy.roster.members_of), Matching)


def _words(member_class: _Class) -> str:
    kind, asks, inside, _ = member_class
    parts = [kind]
    if asks:
        parts.append("who may ask")
    if inside:
        parts.append(f"in {' and '.join(sorted(inside))}")
    return " ".join(parts)


def diff(old: Policy, new: Policy) -> tuple[Change, ...]:
    """Show a change of policy as a change of coalitions, permits that open first."""
    before, after = report(old), report(new)
    changes = []
    gained = sorted(set(after.publishers) - set(before.publishers))
    lost = sorted(set(before.publishers) - set(after.publishers))
    if gained or lost:
        texts = [f"`{who}` can now publish root or targets" for who in gained]
        texts += [f"`{who}` can no longer publish root or targets" for who in lost]
        changes.append(Change("*", bool(gained), tuple(texts)))
    for name in sorted({*before.permits, *after.permits}):
        found, since = before.permits.get(name), after.permits.get(name)
        if since is None:
            changes.append(Change(name, False, ("permit removed",)))
        elif found is None:
            changes.append(Change(name, since.size is not None, (f"permit added: {_summary(since)}",)))
        else:
            changes += _compare(old, new, found, since)
    for name in sorted(old.forbids ^ new.forbids):
        removed = name in old.forbids
        changes.append(Change(name, removed, (f"forbid {'removed' if removed else 'added'}",)))
    return tuple(sorted(changes, key=lambda change: (not change.opens, change.permit)))


def _compare(old: Policy, new: Policy, before: PermitReport, after: PermitReport) -> Iterator[Change]:
    texts = []
    was, now = before.permit, after.permit
    if str(was.quorum) != str(now.quorum):
        texts.append(f"quorum `{was.quorum}` becomes `{now.quorum}`")
    if (before.size, before.count) != (after.size, after.count):
        texts.append(f"coalitions: {_summary(before)} becomes {_summary(after)}")
    opened = tuple(_opened(old, was, new, now))
    opens = bool(opened)
    texts += [f"could not before, and now can: {', '.join(row.example)} (one of {row.count})" for row in opened]
    if (was.duration_max_s, was.pending_max_s) != (now.duration_max_s, now.pending_max_s):
        opens = opens or (now.duration_max_s or 0) > (was.duration_max_s or 0) or now.pending_max_s > was.pending_max_s
        texts.append(
            f"limits {was.duration_max_s}/{was.pending_max_s} s become {now.duration_max_s}/{now.pending_max_s} s"
        )
    if was.actions != now.actions:
        opens = opens or bool(now.actions - was.actions)
        texts.append(f"actions become {', '.join(sorted(now.actions))}")
    if was.break_glass != now.break_glass:
        opens = opens or now.break_glass
        texts.append("becomes break-glass" if now.break_glass else "is break-glass no longer")
    if was.terms != now.terms:
        opens = True  # whether a condition opens cannot be told from its text: a person must read it
        texts.append("its scope or conditions changed: read them")
    if texts:
        yield Change(now.id, opens, tuple(texts))


def _opened(old: Policy, was: Permit, new: Policy, now: Permit) -> Iterator[Coalition]:
    """Coalitions of the permit `now` that could not get through as it `was`."""
    # People whom the old permit told apart stay apart, so that one example speaks for its whole class.
    marks = {
        member: frozenset(term.group for term in was.quorum.terms if member in old.roster.members_of(term.group))
        | ({"asks"} if member in was.asks else frozenset())
        for member in old.roster.members
    }
    for row in _permit_report(new, now, marks).coalitions:
        if not _lets_through(old, was, frozenset(row.example)):
            yield row


def _lets_through(policy: Policy, permit: Permit, people: frozenset[str]) -> bool:
    return any(
        _meets(policy, permit, persons.countable(policy.roster, people, asker, asker)) for asker in people & permit.asks
    )


def _summary(found: PermitReport) -> str:
    if found.size is None:
        return "nobody ever"
    return f"{found.count}{'' if found.complete else ' or more'} of {found.size} members"
