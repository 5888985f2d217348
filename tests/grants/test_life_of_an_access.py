"""Whatever the kernel opens, a simple model of the documents opens, and the other way round: over random lives of accesses.

People ask, approve, deny, revoke, withdraw, suspend and lift; targets change; gates read the log, some late; time passes;
envelopes get lost and are declared void; gates use one-shots, and break glass, and people review that. After each step every
request is brought to the gates, whose views are as old as they are, and `support.access_model` is asked the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from keyturn.crypto.credentials import Credential
from keyturn.errors import KeyturnError
from keyturn.formats.access import AccessRequest
from keyturn.formats.dsse import Envelope
from keyturn.grants.break_glass import verify_break_glass
from keyturn.grants.bundle import Bundle
from keyturn.grants.verify_grant import ready_to_use, verify_grant
from keyturn.grants.view import GateView
from keyturn.policy.facts import NO_FACTS
from support.access_model import (
    AGENTS,
    FOUNDED,
    PEOPLE,
    Asked,
    Authorized,
    Event,
    Lifted,
    Lost,
    Opened,
    Published,
    Reviewed,
    Revoked,
    Rules,
    Seen,
    Suspended,
    Used,
)
from support.labs import make_key
from support.world import BREAK_GLASS, World, make_world

EXAMPLES, STEPS = 60, 9
GATES = ("release", "other")
RESOURCES = {"model/aurora": (), "gate/all": (), **{f"gate/{gate}": ("gate/all",) for gate in GATES}}
REQUESTS_MAX = 3
OPENED_MIN = 3
"""Mostly it is some tens; hypothesis also draws constants of whatever modules are loaded, so that no two suites draw the same."""
ODD = (
    *[None] * 6,
    "used",
    "used",
    "more agree",
    "more agree",
    "alone",
    "all gates",
    "later",
    "longer",
    "for dan",
    "bob",
    "waits",
)
AGREEING = {"weights-read": ("bob", "eve"), "release": ("bob", "cat"), "repair": ("bob",)}
people = st.sampled_from(PEOPLE)
seldom = st.sampled_from((False, False, False, False, True))
lifetimes = st.sampled_from((600, 3600, 7200, 40_000))
backdated = st.sampled_from((0, 0, 0, 300, 5000))


@dataclass
class Brought:
    """A request with what was signed about it: as the model has it, and as the lab has it."""

    event: Asked
    envelope: Envelope
    authorizations: list[tuple[Authorized, Envelope]] = field(default_factory=list)


class Life(RuleBasedStateMachine):
    """One lab from its founding on. `opened` counts over all lives what was opened, so that silence is not agreement."""

    opened: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.world: World = make_world(policy={"main": BREAK_GLASS}, groups=FOUNDED.groups, resources=RESOURCES)
        self.rules = FOUNDED
        self.events: list[Event] = [Published(rules=FOUNDED)]
        self.requests: list[Brought] = []
        self.suspensions: list[tuple[Suspended, Envelope]] = []
        self.uses: list[tuple[Opened, Envelope]] = []
        self.lost: list[Lost] = []
        self.void: set[int] = set()
        self.views: dict[str, GateView] = {}
        self.read: dict[str, tuple[int, int]] = {}
        self.cut_off = False

    @initialize(
        permit=st.sampled_from(tuple(AGREEING)),
        gate=st.sampled_from(("release", "all")),
        odd=st.sampled_from((None, "used", "more agree", "under other rules")),
        lifetime=st.sampled_from((40_000, 900)),
    )
    def somebody_asks(self, permit: str, gate: str, odd: str | None, lifetime: int) -> None:
        self.both_gates_start()
        self.ask("ada", permit, gate, odd, lifetime)
        if permit == "repair" and odd == "used":
            self.open_by_glass(self.requests[0])
            self.ask("dan", permit, "release", None, lifetime)

    def both_gates_start(self) -> None:
        for gate in GATES:
            self.views[gate] = self.world.start(self.world.check_in(gate), gate=gate)
            self.read_on(gate)

    # What people and gates do.

    @precondition(lambda self: len(self.requests) < REQUESTS_MAX)
    @rule(
        by=st.sampled_from(("ada", "dan", "ada+coder", "bob+ops")),
        permit=st.sampled_from(tuple(AGREEING)),
        gate=st.sampled_from((*GATES, "all")),
        odd=st.sampled_from((*[None] * 9, *ODD, *ODD[:2])),
        lifetime=st.sampled_from((40_000, 900)),
    )
    def somebody_else_asks(self, by: str, permit: str, gate: str, odd: str | None, lifetime: int) -> None:
        self.ask(by, permit, gate, odd, lifetime)

    def ask(self, by: str, permit: str, gate: str, odd: str | None, lifetime: int) -> None:
        """Ask, mostly as the policy allows it, and mostly have those agree who can."""
        rules = self.rules
        if odd == "under other rules":
            self.in_force(replace(rules, seats={**rules.seats, "weights-read": ("security", "security")}))
        made = self.make_request(
            "bob" if odd == "bob" else by,
            permit,
            gate=gate,
            beneficiary="dan" if odd == "for dan" else None,
            later=900 if odd == "later" and permit != "repair" else 0,
            wait={"waits": 9 * 3600, "long": 3600}.get(odd or "", 1800)
            if permit != "repair"
            else 1801 - (odd != "waits"),
            lasts=7200 + (odd == "longer") if permit != "repair" else 1800 + (odd == "longer"),
        )
        if odd != "alone":
            more = ("dan", "eve", "cat") if odd == "more agree" else ()
            for approver in dict.fromkeys((*AGREEING[permit], *more)):
                self.authorize(made, approver, denies=False, lifetime=lifetime, back=0)
        if odd == "under other rules":
            self.in_force(rules)
        if odd == "used" and permit == "release":
            self.make_use(made, gate if gate in GATES else "release", every=True)

    def make_request(
        self, by: str, permit: str, *, gate: str, beneficiary: str | None, later: int, wait: int, lasts: int
    ) -> Brought:
        now, glass = self.world.now, permit == "repair"
        beneficiary = beneficiary or by
        start_by = now + later + wait
        event = Asked(
            by=by,
            key=self.rules.keys.get(by, 0),
            at=now,
            name="",
            beneficiary=beneficiary,
            permit=permit,
            gate=gate,
            not_before=now + later,
            start_by=start_by,
            not_after=now + 3600 if glass else start_by + lasts,
            duration_s=lasts,
            version=self.world.lab.history.targets_version,
            resource=f"keyturn://{self.world.lab.name}/model/aurora",
        )
        ask = {"weights-read": self.world.request, "release": self.release, "repair": self.world.emergency}[permit]
        envelope = self.world.ask(
            ask(
                by,
                beneficiary=beneficiary,
                gate=str(self.world.lab.gate_uri(gate)),
                not_before=event.not_before,
                start_by=event.start_by,
                not_after=event.not_after,
                duration_s=lasts,
            )
        )
        made = Brought(replace(event, name=envelope.record_digest), envelope)
        self.requests.append(made)
        self.events.append(made.event)
        return made

    def release(self, by: str, **changed: object) -> AccessRequest:
        return self.world.release(requester=by, **changed)

    @precondition(lambda self: self.requests)
    @rule(data=st.data(), by=people, denies=seldom, lifetime=lifetimes, back=backdated)
    def approve_or_deny(self, data: st.DataObject, by: str, denies: bool, lifetime: int, back: int) -> None:
        self.authorize(self.some(data), by, denies=denies, lifetime=lifetime, back=back)

    def authorize(self, made: Brought, by: str, *, denies: bool, lifetime: int, back: int) -> None:
        version = self.world.lab.history.targets_version
        at = self.world.now - back
        until = self.world.now + lifetime
        envelope = (self.world.deny if denies else self.world.approve)(
            made.envelope, by, signed_at=at, expires_at=until
        )
        event = Authorized(
            by=by,
            key=self.rules.keys.get(by, 0),
            at=at,
            name=envelope.record_digest,
            request=made.event.name,
            denies=denies,
            until=until,
            version=version,
        )
        made.authorizations.append((event, envelope))
        self.events.append(event)

    @precondition(lambda self: self.requests)
    @rule(data=st.data(), by=people, lifetime=lifetimes, back=backdated)
    def revoke_or_withdraw(self, data: st.DataObject, by: str, lifetime: int, back: int) -> None:
        made = self.some(data)
        at, until = self.world.now - back, self.world.now + lifetime
        self.take_away(made, by, at=at, until=until)

    @precondition(lambda self: self.requests)
    @rule(data=st.data(), by=st.sampled_from(("cat", "bob")), denies=st.booleans())
    def whoever_was_suspended_takes_away(self, data: st.DataObject, by: str, denies: bool) -> None:
        self.make_suspension(by, "dan", "member", 3600)
        made, until = self.some(data), 40_000
        if denies:
            self.authorize(made, "dan", denies=True, lifetime=until, back=0)
        else:
            self.take_away(made, "dan", at=self.world.now, until=self.world.now + until)

    def take_away(self, made: Brought, by: str, *, at: int, until: int) -> None:
        self.world.revoke(made.envelope, by, signed_at=at, until=until)
        self.events.append(Revoked(by=by, key=self.rules.keys.get(by, 0), at=at, request=made.event.name, until=until))

    @rule(
        by=st.sampled_from(("bob", "cat", "eve", "ada", "bob+ops")),
        whom=st.sampled_from(("ada", "bob", "dan", "eve", "ada+coder")),
        what=st.sampled_from(("member", "key", "gate")),
        lifetime=st.sampled_from((600, 3600, 86400, 86401)),
    )
    def suspend(self, by: str, whom: str, what: str, lifetime: int) -> None:
        self.make_suspension(by, whom, what, lifetime)

    def make_suspension(self, by: str, whom: str, what: str, lifetime: int) -> None:
        now, key = self.world.now, self.rules.keys.get(whom, 0)
        named = {
            "member": ({"target_member": whom}, f"member:{whom}"),
            "key": ({"target_key": self.world.key(whom).public.keyid}, f"key:{whom}/{key}"),
            "gate": ({"target_gate": str(self.world.gate)}, "gate:release"),
        }
        given, tag = named[what]
        envelope = self.world.suspend(by, until=now + lifetime, **given)
        event = Suspended(
            by=by,
            key=self.rules.keys.get(by, 0),
            at=now,
            name=envelope.record_digest,
            target=tag,
            until=now + lifetime,
        )
        self.suspensions.append((event, envelope))
        self.events.append(event)

    @precondition(lambda self: self.suspensions)
    @rule(data=st.data(), lifters=st.lists(people, min_size=1, max_size=2))
    def lift(self, data: st.DataObject, lifters: list[str]) -> None:
        self.lift_one(data.draw(st.sampled_from(self.suspensions)), lifters)

    @rule(by=st.sampled_from(("bob", "cat")), lifters=st.lists(st.sampled_from(("cat", "dan", "eve")), max_size=2))
    def whoever_asked_is_suspended_and_lifted(self, by: str, lifters: list[str]) -> None:
        self.make_suspension(by, "ada", "member", 3600)
        self.lift_one(self.suspensions[-1], lifters)

    def lift_one(self, one: tuple[Suspended, Envelope], lifters: list[str]) -> None:
        suspended, envelope = one
        for by in lifters:
            self.world.lift(envelope, by)
            key = self.rules.keys.get(by, 0)
            self.events.append(Lifted(by=by, key=key, at=self.world.now, suspension=suspended.name))

    @rule(
        change=st.sampled_from(
            (
                "cat leaves security",
                "dan joins security",
                "dan leaves",
                "eve leaves",
                "eve has a new key",
                "read is hard",
            )
        )
    )
    def publish(self, change: str) -> None:
        groups, keys, seats = dict(self.rules.groups), dict(self.rules.keys), dict(self.rules.seats)
        match change:
            case "cat leaves security":
                groups["security"] -= {"cat"}
            case "dan joins security":
                groups["security"] |= {"dan"} & keys.keys()
            case "dan leaves" | "eve leaves":
                gone = change.partition(" ")[0]
                keys.pop(gone, None)
                groups = {name: members - {gone} for name, members in groups.items()}
            case "eve has a new key" if "eve" in keys:
                keys["eve"] += 1
                self.world.held["eve"] = make_key(f"eve {keys['eve']}")
            case "read is hard":
                seats["weights-read"] = ("security", "security")
        self.in_force(Rules(keys, groups, seats))

    def in_force(self, rules: Rules) -> None:
        roster = self.world.lab.contents.roster
        self.world.publish(
            roster=replace(
                roster,
                members={
                    name: replace(known, keys=(Credential(key=self.world.key(name).public, kind="software"),))
                    for name, known in roster.members.items()
                    if name in rules.keys
                },
                groups={
                    name: replace(group, members=rules.groups[name] & rules.keys.keys())
                    for name, group in roster.groups.items()
                },
            ),
            policy={
                "main": BREAK_GLASS.replace("1 weights-owners + 1 security", "2 security")
                if rules.seats["weights-read"] == ("security", "security")
                else BREAK_GLASS
            },
            void=tuple(range(entry, entry + 1) for entry in sorted(self.void)),
        )
        self.rules = rules
        self.events.append(Published(rules=rules, void=frozenset(self.void)))

    @rule(data=st.data(), kind=st.sampled_from(("apr", "den", "rev", "sus", "use", "brk")), lifetime=lifetimes)
    def lose_an_envelope(self, data: st.DataObject, kind: str, lifetime: int) -> None:
        until = None if kind in ("use", "brk") else self.world.now + lifetime
        member = data.draw(st.sampled_from(("ada", "bob")))
        said = shown = (f"member:{member}",)
        if kind == "sus" and data.draw(st.booleans()):
            said, shown = ("gate:release",), (f"gate:{self.world.gate}",)
        elif kind != "sus" and kind != "brk":
            if not self.requests:
                return
            said = shown = (f"request:{self.some(data).event.name}",)
        event = Lost(entry=self.world.hide(kind, *shown, until=until), kind=kind, about=said, until=until)  # type: ignore[arg-type]
        self.lost.append(event)
        self.events.append(event)

    @precondition(lambda self: self.lost)
    @rule()
    def declare_what_is_lost_void(self) -> None:
        self.void |= {one.entry for one in self.lost}
        self.lost.clear()
        self.in_force(self.rules)

    @precondition(lambda self: any(made.event.permit != "repair" for made in self.requests))
    @rule(data=st.data(), gate=st.sampled_from(GATES), every=st.booleans())
    def use(self, data: st.DataObject, gate: str, every: bool) -> None:
        asked = [made for made in self.requests if not made.event.is_glass]
        made = data.draw(st.sampled_from([one for one in asked if one.event.permit == "release"] or asked))
        self.make_use(made, gate, every=every)

    def make_use(self, made: Brought, gate: str, *, every: bool) -> None:
        given = [one for one in made.authorizations if not one[0].denies]
        given = given if every else given[:1]
        self.world.use(made.envelope, *(envelope for _, envelope in given), gate=gate)
        self.events.append(
            Used(gate=gate, request=made.event.name, approvals=frozenset(event.name for event, _ in given))
        )

    @precondition(lambda self: any(made.event.is_glass for made in self.requests))
    @rule(data=st.data())
    def break_the_glass(self, data: st.DataObject) -> None:
        self.open_by_glass(data.draw(st.sampled_from([made for made in self.requests if made.event.is_glass])))

    def open_by_glass(self, made: Brought) -> None:
        approvers = frozenset({"bob"})
        members = made.event.concerned
        envelope = self.world.glass_use(made.envelope, members=tuple(sorted(members)))
        event = Opened(
            name=envelope.record_digest,
            request=made.event.name,
            members=members,
            approvers=approvers,
            resource=made.event.resource,
        )
        self.uses.append((event, envelope))
        self.events.append(event)

    @precondition(lambda self: self.uses)
    @rule(data=st.data(), by=people)
    def review(self, data: st.DataObject, by: str) -> None:
        use, envelope = data.draw(st.sampled_from(self.uses))
        self.world.review(envelope, by)
        self.events.append(Reviewed(by=by, key=self.rules.keys.get(by, 0), at=self.world.now, use=use.name))

    @rule(seconds=st.sampled_from((1, 300, 600, 1800, 3601, 5 * 3600)))
    def time_passes(self, seconds: int) -> None:
        self.world.now += seconds

    @rule(seconds=st.sampled_from((1000, 3601)))
    def the_gates_do_not_reach_the_log_for(self, seconds: int) -> None:
        self.world.now += seconds
        self.cut_off = True

    # What is compared.

    @invariant()
    def gates_open_what_the_model_opens(self) -> None:
        for gate in self.read:
            if not self.cut_off and self.read[gate] != (len(self.events), self.world.now):
                self.read_on(gate)
            self.compare(gate)
        self.cut_off = False

    def teardown(self) -> None:
        """Whoever reads the log from its first leaf knows the same."""
        if self.read:
            self.both_gates_start()
            self.gates_open_what_the_model_opens()

    def compare(self, gate: str) -> None:
        """Bring each request as an honest service does, and to the gate that it names also without an approval, and with all."""
        count, read_at = self.read[gate]
        seen = Seen(self.events[:count], read_at=read_at)
        for made in self.requests:
            counting = [one for one in seen.given.get(made.event.name, ()) if one.until > self.world.now]
            live = [one for one in made.authorizations if one[0] in counting]
            self.bring(made, live, seen, gate)
            at_home = made.event.gate in (gate, "all")
            if at_home and live:
                self.bring(made, live[1:], seen, gate)
            if at_home and live != made.authorizations:
                self.bring(made, made.authorizations, seen, gate)

    def bring(self, made: Brought, given: list[tuple[Authorized, Envelope]], seen: Seen, gate: str) -> None:
        bundle = self.world.bundle(made.envelope, *(envelope for _, envelope in given))
        held = [event for event, _ in given]
        name, session, now = made.event.name, made.event.permit != "release", self.world.now
        view = self.views[gate]
        agreed = seen.grants(name, held, gate=gate, now=now, session=session)
        acts = agreed and (session or seen.used_first(name, held, gate=gate))
        self.same("grant" if session else "one-shot", self.opens(verify_grant, bundle, view, made), acts)
        if made.event.permit == "release":
            uses = agreed and seen.may_use(name)
            self.same("use", self.opens(ready_to_use, bundle, view, made), uses)
        if made.event.is_glass:
            breaks = seen.breaks(made.event, held, gate=gate, now=now, session=session)
            self.same("break-glass", self.opens(verify_break_glass, bundle, view, made, journal=()), breaks)

    def opens(
        self, verify: Callable[..., object], bundle: Bundle, view: GateView, made: Brought, **more: object
    ) -> KeyturnError | None:
        """Why not, or None."""
        key = None if made.event.permit == "release" else self.world.session.public
        assert view.gate is not None
        try:
            verify(bundle, view, now=self.world.now, gate=view.gate, session_key=key, facts=NO_FACTS, **more)
        except KeyturnError as err:
            return err
        return None

    def same(self, what: str, refused: KeyturnError | None, model: bool) -> None:
        assert (refused is None) == model, f"{what}: the model says {model}, the kernel {refused!r}"
        self.opened[what] += model

    def some(self, data: st.DataObject) -> Brought:
        return data.draw(st.sampled_from(self.requests))

    def read_on(self, gate: str) -> None:
        self.views[gate] = self.world.read_on(self.views[gate])
        self.read[gate] = (len(self.events), self.world.now)


def test_the_kernel_opens_what_a_model_of_the_documents_opens_and_nothing_else() -> None:
    Life.opened.clear()
    run_state_machine_as_test(Life, settings=settings(max_examples=EXAMPLES, stateful_step_count=STEPS))
    assert min(Life.opened[what] for what in ("grant", "use", "one-shot", "break-glass")) >= OPENED_MIN, Life.opened


def test_the_model_knows_the_same_agents_as_the_lab() -> None:
    members = make_world().lab.contents.roster.members
    assert {m.id: m.responsible for m in members.values() if m.kind == "agent"} == AGENTS
    assert tuple(sorted(members)) == tuple(sorted(PEOPLE))
