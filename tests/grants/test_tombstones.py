"""Whose tombstones count, of which records and when; and that an erased record opens nothing, whoever reads the log."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from keyturn.errors import Malformed, Refused, Unavailable
from keyturn.formats import dsse, records
from keyturn.formats.digest import sha256
from keyturn.formats.dsse import Envelope
from keyturn.formats.leaf import KINDS, NEGATIVES
from keyturn.grants.known import Hidden
from keyturn.grants.negatives import PAIR_REST_S
from keyturn.grants.tombstones import ERASABLE, concerned, require_counts, require_erasable, require_over
from keyturn.grants.verify_grant import verify_grant
from keyturn.grants.view import GateView
from keyturn.policy.facts import NO_FACTS
from keyturn.trust.roster import Limits
from support.authenticators import Passkey
from support.chains import changed
from support.labs import NOW, make_key
from support.world import World, make_production, make_world


def erased(world: World, record: Envelope, *members: str) -> frozenset[str]:
    """`members` sign that `record` shall go, and it goes: what a reader then misses."""
    for member in members:
        world.tombstone(record, member)
    return frozenset({sha256(dsse.render(record))})


def only_hidden(view: GateView) -> Hidden:
    (found,) = view.known.hidden.values()
    return found


def test_two_humans_erase_and_one_does_not_however_often() -> None:
    world = make_world()
    denial = world.deny(world.ask(), "dan")
    gone = erased(world, denial, "bob", "bob")
    assert (only_hidden(world.view(missing=gone)).erased, only_hidden(world.view(missing=gone)).erasure.signers) == (
        False,
        ("bob",),
    )
    world.tombstone(denial, "eve")
    last = world.log.settle().size - 1
    world.tombstone(denial, "cat")
    found = only_hidden(world.view(missing=gone))
    assert (found.erased, found.erasure.signers, found.erasure.index) == (True, ("bob", "eve"), last)


def test_as_many_humans_erase_as_the_lab_says() -> None:
    world = make_world(limits=Limits(tombstone_signers=3))
    denial = world.deny(world.ask(), "dan")
    gone = erased(world, denial, "bob", "eve")
    assert not only_hidden(world.view(missing=gone)).erased
    erased(world, denial, "cat")
    assert only_hidden(world.view(missing=gone)).erased


def test_tombstones_that_come_one_refresh_after_the_other_count_together() -> None:
    world = make_world()
    denial = world.deny(world.ask(), "dan")
    gone = erased(world, denial, "bob")
    view = world.view(missing=gone)
    erased(world, denial, "eve")
    assert only_hidden(world.read_on(view, missing=gone)).erased


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(lambda world, one: world.tombstone(one, "bob+ops"), id="an AI agent is the second"),
        pytest.param(lambda world, one: world.tombstone(one, "eve", lab="other.example"), id="of another lab"),
        pytest.param(lambda world, one: world.tombstone(one, "eve", key="ab" * 32), id="by a key that is not hers"),
        pytest.param(lambda world, one: world.tombstone(world.ask(), "eve"), id="of another record"),
        pytest.param(
            lambda world, one: (
                world.suspend("cat", target_member="eve"),
                world.tombstone(one, "eve"),
            ),
            id="by somebody who is suspended",
        ),
    ],
)
def test_whose_word_does_not_count_erases_nothing(second: Callable[[World, Envelope], object]) -> None:
    world = make_world()
    denial = world.deny(world.ask(), "dan")
    gone = erased(world, denial, "bob")
    second(world, denial)
    assert not only_hidden(world.view(missing=gone)).erased


def test_a_tombstone_whose_leaf_lies_counts_for_nothing() -> None:
    world = make_world()
    denial = world.deny(world.ask(), "dan")
    raw = dsse.render(world.tombstone(world.ask(), "eve", submit=False))
    lies = changed(records.leaf_of(raw), about=(f"erases:{denial.record_digest}",))
    for leaf, text in ((lies, raw), (records.leaf_of(dsse.render(denial)), dsse.render(denial))):
        with pytest.raises(Malformed, match="leaf-not-of-record"):
            require_counts(leaf, text, world.lab.state)


def test_production_refuses_software_keys_tombstones_by_name() -> None:
    world = make_production(Passkey(make_key("passkey")))
    denial = world.deny(world.ask(), "dan")
    with pytest.raises(Refused, match="approver-key-software"):
        raw = dsse.render(world.tombstone(denial, "eve", submit=False))
        require_counts(records.leaf_of(raw), raw, world.lab.state)
    raw = dsse.render(world.tombstone(denial, "bob", submit=False))
    assert require_counts(records.leaf_of(raw), raw, world.lab.state).member == "bob"


def negatives_of(world: World, asked: Envelope) -> tuple[Envelope, ...]:
    return (
        world.deny(asked, "dan"),
        world.revoke(asked, "dan"),
        world.suspend("cat", target_member="bob"),
        world.suspend("cat", target_gate=str(world.gate)),
    )


@pytest.mark.parametrize("which", range(4), ids=["a denial", "a revocation", "a member's suspension", "a gate's"])
def test_an_erased_negative_stays_in_force_until_it_is_over(which: int) -> None:
    """Whoever has read it keeps it; whoever begins anew is closed for what it concerns, as if it were hidden."""
    world = make_world()
    asked = world.ask()
    bundle = world.bundle(asked, world.approve(asked, "bob"), world.approve(asked, "eve"))
    raw = dsse.render(negatives_of(make_world(), asked)[which])
    gone = frozenset({sha256(raw)})
    world.log.append(raw)
    had_read = world.view()
    for member in ("eve", "ada"):
        world.tombstone(dsse.parse_own(raw), member)
    for view, error in ((world.read_on(had_read, missing=gone), Refused), (world.view(missing=gone), Unavailable)):
        with pytest.raises(error):
            verify_grant(bundle, view, now=NOW, gate=world.gate, session_key=world.session.public, facts=NO_FACTS)
    world.now = NOW + 7201
    assert world.view(missing=gone).known.unread == frozenset()


def test_an_erased_lift_leaves_the_suspension_standing_and_nobody_looks_for_it() -> None:
    world = make_world()
    suspension = world.suspend("cat", target_member="dan")
    world.lift(suspension, "ada")
    lift = world.lift(suspension, "eve")
    assert "member:dan" not in world.view().known.suspended(now=NOW)
    gone = erased(world, lift, "bob", "ada")
    view = world.view(missing=gone)
    assert ("member:dan" in view.known.suspended(now=NOW), dict(view.known.hidden)) == (True, {})


def test_a_tombstone_of_what_can_be_read_or_must_stay_is_passed_over() -> None:
    world = make_world()
    asked = world.ask()
    use = world.use(asked, world.approve(asked, "bob"), world.approve(asked, "eve"))
    erased(world, asked, "bob", "cat")
    gone = erased(world, use, "bob", "cat")
    assert not only_hidden(world.view(missing=gone)).erased, "a use is none of what may be erased"
    assert dict(world.view().known.hidden) == {}
    assert asked.record_digest in world.view().known.requests
    assert world.view().known.erasures[asked.record_digest].signers == ("bob", "cat")


def test_what_custody_gates_and_later_readers_need_stays() -> None:
    assert NEGATIVES < ERASABLE
    for kind in KINDS - ERASABLE:
        with pytest.raises(Refused, match="tombstone-kind"):
            require_erasable(kind)
    for kind in ERASABLE:
        require_erasable(kind)


def test_nobody_removes_his_own_traces() -> None:
    world = make_world()
    roster = world.lab.state.roster
    for made, people in (
        (world.ask(world.request("ada+coder", beneficiary="dan")), {"ada+coder", "ada", "dan"}),
        (world.approve(world.ask(), "bob"), {"bob"}),
        (world.revoke(world.ask(), "ada+coder"), {"ada+coder", "ada"}),
        (world.suspend("cat", target_member="ada+coder"), {"cat", "ada+coder", "ada"}),
        (world.suspend("cat", target_gate=str(world.gate)), {"cat"}),
        (world.offer(world.ask(), "bob"), {"bob"}),
    ):
        assert concerned(records.parse(dsse.render(made)), roster) == people


def test_what_something_can_be_opened_with_stays_until_that_is_over() -> None:
    world = make_world()
    asked = world.ask()
    approval, denial = world.approve(asked, "bob", expires_at=NOW + 60), world.deny(asked, "bob")
    suspension = world.suspend("cat", target_member="dan")
    lift = world.lift(suspension, "eve")
    ends = NOW + 7200
    for made, behind, over_at in (
        (asked, 0, ends),
        (approval, ends, ends),
        (approval, 0, NOW + 60),
        (lift, NOW + 3600, NOW + 3600 + PAIR_REST_S),
    ):
        leaf = records.leaf_of(dsse.render(made))
        require_over(leaf, behind=behind, now=over_at)
        with pytest.raises(Refused, match="tombstone-live"):
            require_over(leaf, behind=behind, now=over_at - 1)
    for made in (denial, suspension):
        require_over(records.leaf_of(dsse.render(made)), behind=ends, now=NOW)
