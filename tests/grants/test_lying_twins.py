"""Whoever has the log writes leaves that name a real record and lie about the rest: none of them makes a gate forget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from keyturn.errors import Refused, Unavailable
from keyturn.formats import dsse, leaf
from keyturn.formats.digest import Sha256, sha256
from keyturn.formats.dsse import Envelope
from keyturn.formats.leaf import Leaf
from keyturn.formats.records import leaf_of
from keyturn.grants.verify_grant import verify_grant
from keyturn.grants.view import GateView
from keyturn.policy.facts import NO_FACTS
from support.hidden import hidden_leaf
from support.labs import NOW
from support.world import World, make_world


@dataclass
class TakenLog:
    """The log of `world` in somebody else's hands: he writes any leaf, as often as he likes, and has it witnessed."""

    world: World
    view: GateView = field(init=False)

    def __post_init__(self) -> None:
        self.view = self.world.view()

    def write(self, *what: Leaf | Envelope, now: int = NOW, missing: Sequence[Envelope] = ()) -> GateView:
        """Write leaves (of real records: the record's own), and give the gate's view of them."""
        raws = {leaf_of(dsse.render(one)): dsse.render(one) for one in what if isinstance(one, Envelope)}
        leaves = [one if isinstance(one, Leaf) else leaf_of(dsse.render(one)) for one in what]
        lost = {sha256(dsse.render(one)) for one in missing}
        found = {Sha256(one.envelope): raw for one, raw in raws.items() if one.envelope not in lost}
        read = self.view.following(now=now)
        read.take([leaf.render(one) for one in leaves], found)
        note = self.world.note(frontier=read.frontier, at=now)
        self.view = self.view.finish(read, note, now=now)
        return self.view

    def publish(self) -> GateView:
        """Log the lab's newest trust version."""
        raw = self.world.lab.containers[-1]
        read = self.view.following(now=NOW)
        read.take([leaf.render(leaf_of(raw))], {Sha256(leaf_of(raw).envelope): raw})
        self.view = self.view.finish(read, self.world.note(frontier=read.frontier), now=NOW)
        return self.view


def twin(record: Envelope, *, number: int, until: int) -> Leaf:
    """A leaf of that very record, whose envelope nobody has, and which is over when the writer likes."""
    true = leaf_of(dsse.render(record))
    return hidden_leaf(true.kind, *true.about, number=number, record=true.record, until=until)


def opens(world: World, view: GateView, asked: Envelope, *given: Envelope, now: int = NOW) -> None:
    """Go to the gate that has `view`."""
    bundle, session = world.bundle(asked, *given), world.session.public
    verify_grant(bundle, view, now=now, gate=world.gate, session_key=session, facts=NO_FACTS)


@pytest.mark.parametrize(
    "readable", [True, False], ids=["the request can be read", "the request cannot be read for a while"]
)
def test_a_denial_is_not_forgotten_with_a_twin_of_its_request_that_ends_early(readable: bool) -> None:
    world = make_world()
    log = TakenLog(world)
    asked = world.ask(submit=False)
    given = [world.authorization(asked, who) for who in ("bob", "eve")]
    denied = world.authorization(asked, "dan", decision="deny")
    log.write(twin(asked, number=1, until=NOW + 10), asked, *given, denied, missing=() if readable else (asked,))
    view = log.write(asked, *given, now=NOW + 20)
    with pytest.raises(Refused, match="request-denied"):
        opens(world, view, asked, *given, now=NOW + 20)


def test_a_denial_of_what_is_not_in_the_log_yet_is_not_forgotten_with_a_twin_of_it() -> None:
    world = make_world()
    log = TakenLog(world)
    asked = world.ask(submit=False)
    given = [world.authorization(asked, who) for who in ("bob", "eve")]
    log.write(twin(asked, number=1, until=NOW + 10), world.authorization(asked, "dan", decision="deny"))
    log.write(now=NOW + 20)
    with pytest.raises(Refused, match="request-denied"):
        opens(world, log.write(asked, *given, now=NOW + 20), asked, *given, now=NOW + 20)


@pytest.mark.parametrize("void", [False, True], ids=["a twin that ends early", "a twin that is void"])
def test_a_use_is_not_forgotten_with_a_twin_of_its_request(void: bool) -> None:
    world = make_world()
    log = TakenLog(world)
    asked = world.ask(world.release(), submit=False)
    given = [world.authorization(asked, who) for who in ("bob", "cat")]
    use = world.use(asked, *given, submit=False)
    first = log.view.frontier.size
    log.write(twin(asked, number=1, until=NOW + (7200 if void else 10)), asked, *given, use, missing=(asked,))
    if void:
        world.lab = world.lab.publish(void=(range(first, first + 2),))
        log.publish()
    view = log.write(asked, *given, now=NOW + 20)
    assert view.known.uses[asked.record_digest].digest == use.record_digest


def test_a_twin_keeps_no_request_and_no_approval_from_being_read() -> None:
    world = make_world()
    log = TakenLog(world)
    asked = world.ask(submit=False)
    given = [world.authorization(asked, who) for who in ("bob", "eve")]
    twins = [twin(one, number=number, until=2**32 - 1) for number, one in enumerate((asked, *given))]
    opens(world, log.write(*twins, asked, *given, *twins), asked, *given)


@pytest.mark.parametrize(
    ("agent", "ends"),
    [
        pytest.param("ada+coder", True, id="the agent that asked"),
        pytest.param("bob+ops", False, id="somebody's agent that is no party"),
    ],
)
@pytest.mark.parametrize("before", ["a twin of the request", "nothing"])
def test_an_agents_revocation_counts_once_its_request_can_be_read_and_a_strangers_never(
    agent: str, ends: bool, before: str
) -> None:
    world = make_world()
    log = TakenLog(world)
    asked = world.ask(world.request("ada+coder"), submit=False)
    other = world.ask(submit=False)
    given = [world.authorization(asked, who) for who in ("bob", "eve")]
    revoked = world.revoke(asked, agent, submit=False)
    view = log.write(*([twin(asked, number=1, until=2**32 - 1)] if before != "nothing" else []), revoked)
    with pytest.raises(Unavailable, match="negative-unread"):
        view.known.require_read(f"request:{asked.record_digest}", what="request")
    view = log.write(other, asked, *given)
    assert [(one.kind, one.by) for one in view.known.withdrawals.get(asked.record_digest, ())] == [
        ("rev", agent)
    ] * ends
    assert view.known.unread == frozenset()


def test_an_agents_revocation_is_not_given_up_with_the_twin_that_stood_before_it() -> None:
    world = make_world()
    log = TakenLog(world)
    asked = world.ask(world.request("ada+coder"), submit=False)
    first = log.view.frontier.size
    log.write(twin(asked, number=1, until=2**32 - 1), world.revoke(asked, "ada+coder", submit=False))
    world.lab = world.lab.publish(void=(range(first, first + 2),))
    log.publish()
    view = log.write(asked)
    assert [one.by for one in view.known.withdrawals[asked.record_digest]] == ["ada+coder"]


def test_nobody_approves_a_second_time_by_a_twin_of_the_request() -> None:
    world = make_world()
    log = TakenLog(world)
    asked = world.ask(submit=False)
    first, second = (world.authorization(asked, "bob", signed_at=NOW + late) for late in (0, 60))
    log.write(twin(asked, number=1, until=NOW + 10), asked, first)
    view = log.write(asked, second, now=NOW + 60)
    assert [one.digest for one in view.known.approvals[asked.record_digest]] == [first.record_digest]
