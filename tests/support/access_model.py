"""What docs/ and the docstrings of `grants` promise of an access, said once more and simply: events, read from the first on.

This shares no code with `grants` and `policy`, and no way of doing it: nothing is forgotten, nothing is kept between readings,
and a quorum is looked for by trying everybody on every seat. It is slow, and it knows neither signatures nor bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import permutations
from types import MappingProxyType

__all__ = [
    "AGENTS",
    "FOUNDED",
    "PEOPLE",
    "Asked",
    "Authorized",
    "Event",
    "Lifted",
    "Lost",
    "Opened",
    "Published",
    "Reviewed",
    "Revoked",
    "Rules",
    "Seen",
    "Suspended",
    "Used",
]

AGENTS: Mapping[str, frozenset[str]] = {"ada+coder": frozenset({"ada"}), "bob+ops": frozenset({"bob"})}
"""Who answers for each agent; everybody else is human."""

PEOPLE = ("ada", "bob", "cat", "dan", "eve", "ada+coder", "bob+ops")
SKEW_S, VIEW_AGE_S, GLASS_VIEW_AGE_S, SUSPENSION_MAX_S = 60, 3600, 4 * 3600, 86400
LIMITS = {"weights-read": (2 * 3600, 8 * 3600), "release": (None, 86400), "repair": (1800, 1800)}
"""Of each permit: how long a session lasts at most, and how long a request may wait."""


@dataclass(frozen=True)
class Rules:
    """One targets version: who is in the lab with which key, who is in which group, and whose consent each permit asks for."""

    keys: Mapping[str, int]
    groups: Mapping[str, frozenset[str]]
    seats: Mapping[str, tuple[str, ...]]


FOUNDED = Rules(
    keys=MappingProxyType(dict.fromkeys(PEOPLE, 1)),
    groups=MappingProxyType(
        {
            "research": frozenset({"ada", "dan", "ada+coder", "bob+ops"}),
            "security": frozenset({"bob", "cat", "bob+ops"}),
            "weights-owners": frozenset({"cat", "eve"}),
        }
    ),
    seats=MappingProxyType(
        {"weights-read": ("weights-owners", "security"), "release": ("security", "security"), "repair": ("security",)}
    ),
)
"""The lab of `support.world`, in which an agent of bob's may ask as well."""


@dataclass(frozen=True)
class Event:
    """A record in the log: signed by `by` with their key number `key`, who says that it was at `at`."""

    by: str = ""
    key: int = 0
    at: int = 0


@dataclass(frozen=True)
class Published(Event):
    rules: Rules = field(kw_only=True)
    void: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Asked(Event):
    name: str = field(kw_only=True)
    beneficiary: str = field(kw_only=True)
    permit: str = field(kw_only=True)
    gate: str = field(kw_only=True)
    not_before: int = field(kw_only=True)
    start_by: int = field(kw_only=True)
    not_after: int = field(kw_only=True)
    duration_s: int = field(kw_only=True)
    version: int = field(kw_only=True)
    resource: str = field(kw_only=True)

    @property
    def is_glass(self) -> bool:
        return self.permit == "repair"

    @property
    def concerned(self) -> frozenset[str]:
        found = {self.by, self.beneficiary}
        return frozenset(found.union(*(AGENTS.get(member, frozenset()) for member in found)))


@dataclass(frozen=True)
class Authorized(Event):
    name: str = field(kw_only=True)
    request: str = field(kw_only=True)
    denies: bool = field(kw_only=True)
    until: int = field(kw_only=True)
    version: int = field(kw_only=True)


@dataclass(frozen=True)
class Revoked(Event):
    request: str = field(kw_only=True)
    until: int = field(kw_only=True)


@dataclass(frozen=True)
class Suspended(Event):
    name: str = field(kw_only=True)
    target: str = field(kw_only=True)
    until: int = field(kw_only=True)


@dataclass(frozen=True)
class Lifted(Event):
    suspension: str = field(kw_only=True)


@dataclass(frozen=True)
class Used(Event):
    """A gate's use of a one-shot."""

    gate: str = field(kw_only=True)
    request: str = field(kw_only=True)
    approvals: frozenset[str] = field(kw_only=True)


@dataclass(frozen=True)
class Opened(Event):
    """A gate's use by break-glass."""

    name: str = field(kw_only=True)
    request: str = field(kw_only=True)
    members: frozenset[str] = field(kw_only=True)
    approvers: frozenset[str] = field(kw_only=True)
    resource: str = field(kw_only=True)


@dataclass(frozen=True)
class Reviewed(Event):
    use: str = field(kw_only=True)


@dataclass(frozen=True)
class Lost(Event):
    """An entry whose envelope nobody has: it says what it is about, and until when."""

    entry: int = field(kw_only=True)
    kind: str = field(kw_only=True)
    about: tuple[str, ...] = field(kw_only=True)
    until: int | None = field(kw_only=True)


class Seen:
    """What somebody knows who read `events` at `read_at`; `opens` and its neighbours say what he may do at a time since."""

    def __init__(self, events: Iterable[Event], *, read_at: int) -> None:
        self.read_at = read_at
        self.versions: list[Rules] = []
        self.requests: dict[str, Asked] = {}
        self.given: dict[str, list[Authorized]] = {}
        self.ended: dict[str, list[Authorized | Revoked]] = {}
        self.suspensions: dict[str, Suspended] = {}
        self.lifters: dict[str, set[str]] = {}
        self.uses: dict[str, Used] = {}
        self.unreviewed: dict[str, Opened] = {}
        self.lost: list[Lost] = []
        for event in events:
            self._read(event)

    def _read(self, event: Event) -> None:
        if isinstance(event, Published):
            self.versions.append(event.rules)
            self.lost = [one for one in self.lost if one.entry not in event.void]
        elif isinstance(event, Lost):
            self._read_lost(event)
        elif isinstance(event, Used):
            asked = self.requests.get(event.request)
            if asked is not None and event.request not in self.uses and event.gate in _gates_under(asked.gate):
                self.uses[event.request] = event
        elif isinstance(event, Opened):
            self.unreviewed[event.name] = event
        elif self.rules.keys.get(event.by) == event.key:
            self._read_persons(event)

    def _read_lost(self, event: Lost) -> None:
        request = next((tag.partition(":")[2] for tag in event.about if tag.startswith("request:")), "")
        matters = event.kind not in ("apr", "use") or request in self.requests
        if matters and not (event.kind == "use" and request in self.uses):
            self.lost.append(event)

    def _read_persons(self, event: Event) -> None:
        human = event.by not in AGENTS
        if isinstance(event, Asked):
            self.requests[event.name] = event
        elif isinstance(event, Suspended):
            self._read_suspension(event)
        elif self.out(event.by, event.key, at=event.at):
            return
        elif isinstance(event, Authorized) and human and event.denies:
            self.ended.setdefault(event.request, []).append(event)
        elif isinstance(event, Authorized) and human and event.request in self.requests:
            given = self.given.setdefault(event.request, [])
            if event.by not in [one.by for one in given]:
                given.append(event)
        elif isinstance(event, Revoked):
            asked = self.requests.get(event.request)
            if human or (asked is not None and event.by in (asked.by, asked.beneficiary)):
                self.ended.setdefault(event.request, []).append(event)
        elif isinstance(event, Lifted) and human and event.suspension in self.suspensions:
            target = self.suspensions[event.suspension].target
            if target not in self._own(event.by):
                self.lifters[event.suspension].add(event.by)
        elif isinstance(event, Reviewed) and human and event.use in self.unreviewed:
            use = self.unreviewed[event.use]
            if event.by not in use.members | use.approvers:
                del self.unreviewed[event.use]

    def _read_suspension(self, event: Suspended) -> None:
        if event.target not in self._own(event.by):
            again = any((one.by, one.target) == (event.by, event.target) for one in self.suspensions.values())
            may = event.by not in AGENTS and event.by in self.rules.groups["security"]
            if again or not may or self.out(event.by, event.key, at=event.at):
                return
            if not 0 < event.until - event.at <= SUSPENSION_MAX_S:
                return
        self.suspensions[event.name] = event
        self.lifters[event.name] = set()

    @property
    def rules(self) -> Rules:
        return self.versions[-1]

    def _own(self, member: str) -> set[str]:
        return {f"member:{member}", f"key:{member}/{self.rules.keys.get(member)}"}

    def _stands(self, target: str, at: int) -> bool:
        for name, one in self.suspensions.items():
            own = one.target == f"member:{one.by}" or one.target.startswith(f"key:{one.by}/")
            stands = at < one.until and len(self.lifters[name]) < 2
            if one.target == target and stands and (own or one.by in self.rules.groups["security"]):
                return True
        return False

    def out(self, member: str, key: int, *, at: int) -> bool:
        return self._stands(f"member:{member}", at) or self._stands(f"key:{member}/{key}", at)

    def _lost(self, tag: str, *kinds: str) -> bool:
        alive = [one for one in self.lost if one.until is None or one.until > self.read_at]
        return any(one.kind in kinds and tag in one.about for one in alive)

    def _doubtful(self, member: str, key: int) -> bool:
        return any(self._lost(tag, "sus") for tag in (f"member:{member}", f"key:{member}/{key}"))

    def grants(self, name: str, bundle: Iterable[Authorized], *, gate: str, now: int, session: bool) -> bool:
        """Whether a gate opens a session for the request, or would log its use of a one-shot."""
        asked = self.requests.get(name)
        held = tuple(bundle)
        return (
            asked is not None
            and not asked.is_glass
            and self._agreed(asked, held, gate=gate, now=now, session=session, age_max_s=VIEW_AGE_S)
            and not any(one.denies for one in held)
            and not any(one.until > now for one in self.ended.get(name, ()))
            and all(one in self.given.get(name, ()) for one in held)
            and gate in _gates_under(asked.gate)
        )

    def may_use(self, name: str) -> bool:
        """Whether nobody used the one-shot yet."""
        return name not in self.uses and not self._lost(f"request:{name}", "use")

    def used_first(self, name: str, bundle: Iterable[Authorized], *, gate: str) -> bool:
        """Whether the one-shot's first use is that gate's own, for approvals that are all in the bundle."""
        use = self.uses.get(name)
        held = {one.name for one in bundle}
        return (
            use is not None
            and not self._lost(f"request:{name}", "use")
            and use.gate == gate
            and bool(use.approvals)
            and use.approvals <= held
        )

    def breaks(self, asked: Asked, bundle: Iterable[Authorized], *, gate: str, now: int, session: bool) -> bool:
        """Whether a gate opens for the break-glass request."""
        held = tuple(bundle)
        may_end = self.rules.groups["security"] | {asked.by, asked.beneficiary}
        return (
            asked.is_glass
            and self._agreed(asked, held, gate=gate, now=now, session=session, age_max_s=GLASS_VIEW_AGE_S)
            and asked.at <= now + SKEW_S
            and all(one.denies or one.at >= asked.at - SKEW_S for one in held)
            and not any(
                isinstance(one, Revoked) and one.until > now and one.by in may_end
                for one in self.ended.get(asked.name, ())
            )
            and gate == asked.gate
            and not any(
                use.request != asked.name and (use.members & asked.concerned or use.resource == asked.resource)
                for use in self.unreviewed.values()
            )
            and not any(self._lost(f"member:{member}", "brk") for member in asked.concerned)
            and not self._lost(f"resource:{asked.resource}", "brk")
        )

    def _agreed(
        self, asked: Asked, held: tuple[Authorized, ...], *, gate: str, now: int, session: bool, age_max_s: int
    ) -> bool:
        """What both ways to open ask for: a fresh view, people in good standing, nothing lost or withheld, quorum and window."""
        if now - self.read_at > age_max_s or len(self.versions) < asked.version:
            return False
        if self._stands(f"gate:{gate}", now) or self._lost(f"gate:{gate}", "sus"):
            return False
        if session != (asked.permit != "release"):
            return False
        for member in (asked.by, asked.beneficiary):
            if (
                member not in self.rules.keys
                or self.out(member, asked.key, at=now)
                or self._doubtful(member, asked.key)
            ):
                return False
        then = self.versions[asked.version - 1]
        approving = [one for one in held if not one.denies]
        live = [one for one in self.given.get(asked.name, ()) if one.until > now]
        return (
            self.rules.keys.get(asked.by) == asked.key
            and all(self._counts(one, asked, then, now) for one in approving)
            and all(one in held for one in live)
            and not any(self._lost(f"request:{asked.name}", kind) for kind in ("den", "rev", "apr"))
            and all(_allows(rules, asked) for rules in (then, self.rules))
            and self._is_open(asked, approving, (then, self.rules), now)
        )

    def _counts(self, one: Authorized, asked: Asked, then: Rules, now: int) -> bool:
        return (
            one.by not in AGENTS
            and one.request == asked.name
            and one.version == asked.version
            and all(rules.keys.get(one.by) == one.key for rules in (then, self.rules))
            and not self.out(one.by, one.key, at=now)
            and not self._doubtful(one.by, one.key)
            and one.at <= now + SKEW_S
            and now < one.until
        )

    def _is_open(self, asked: Asked, approving: list[Authorized], both: tuple[Rules, ...], now: int) -> bool:
        starts_at = asked.not_before
        for rules in both:
            met = next(_instants(rules.groups, rules.seats[asked.permit], asked, approving), None)
            if met is None:
                return False
            starts_at = max(starts_at, met)
        return starts_at <= asked.start_by and starts_at <= now < min(starts_at + asked.duration_s, asked.not_after)


def _instants(
    groups: Mapping[str, frozenset[str]], seats: tuple[str, ...], asked: Asked, approving: list[Authorized]
) -> Iterator[int]:
    """The times of approvals by which somebody else sits on every seat."""
    for instant in sorted(one.at for one in approving):
        people = {one.by for one in approving if one.at <= instant} - asked.concerned
        if any(all(map(lambda who, seat: who in groups[seat], who, seats)) for who in permutations(people, len(seats))):
            yield instant


def _allows(rules: Rules, asked: Asked) -> bool:
    duration_max_s, wait_max_s = LIMITS[asked.permit]
    waits_until = asked.not_after if asked.permit == "release" else asked.start_by
    return (
        {asked.by, asked.beneficiary} <= rules.groups["research"]
        and (duration_max_s is None or asked.duration_s <= duration_max_s)
        and waits_until - asked.not_before <= wait_max_s
    )


def _gates_under(named: str) -> frozenset[str]:
    return frozenset({"release", "other"}) if named == "all" else frozenset({named})
