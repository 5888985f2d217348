"""What the release gate writes down: every grant before anybody gets it, and refusals, as claimed, without being flooded."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from keyturn.errors import KeyturnError, Malformed, Refused, Unavailable
from keyturn.formats.decision import Decision
from keyturn.formats.dsse import Envelope
from keyturn.gates.recorder import REFUSALS_PER_MINUTE
from keyturn.gates.release.recorded import Recorded
from support.releases import ReleaseWorld, make_release_world
from support.releases import _Clock as Clock


@dataclass
class Kept:
    """`ports.Decisions` in memory; `full` has no space."""

    decisions: list[Decision] = field(default_factory=list)
    full: bool = False

    def keep(self, made: Decision) -> None:
        if self.full:
            raise Unavailable("decisions-unwritable", "no space")
        self.decisions.append(made)


@pytest.fixture
def world() -> ReleaseWorld:
    world = make_release_world()
    world.build()
    return world


def recorded(world: ReleaseWorld, kept: Kept) -> Recorded:
    return Recorded(
        world.gate().release, gate=world.world.gate, journal=world.journal, decisions=kept, clock=Clock(world.world)
    )


def approved(world: ReleaseWorld) -> tuple[Envelope, list[Envelope]]:
    asked = world.ask()
    return asked, [world.world.approve(asked, who) for who in ("bob", "cat")]


def test_a_grant_is_written_down_with_who_agreed(world: ReleaseWorld) -> None:
    kept = Kept()
    asked, given = approved(world)
    pack = recorded(world, kept).release(world.order(asked, *given))
    assert pack
    (one,) = kept.decisions
    assert (one.outcome, one.requester, one.action, one.permit) == ("granted", "ada", "model:release", one.permit)
    assert (one.approvers, one.request, one.code) == (("bob", "cat"), asked.record_digest, "")
    assert sorted(one.approvals) == sorted(envelope.record_digest for envelope in given)


def test_who_asks_again_with_other_approvals_puts_no_names_into_it(world: ReleaseWorld) -> None:
    kept = Kept()
    asked, given = approved(world)
    gate = recorded(world, kept)
    pack = gate.release(world.order(asked, *given))
    forged = world.world.approve(asked, "dan")
    assert gate.release(world.order(asked, forged)) == pack
    assert (kept.decisions[1].approvers, kept.decisions[1].approvals) == ((), kept.decisions[0].approvals)


def test_what_cannot_be_written_down_is_not_given_and_is_given_later(world: ReleaseWorld) -> None:
    kept = Kept(full=True)
    asked, given = approved(world)
    gate = recorded(world, kept)
    with pytest.raises(Unavailable, match="decisions-unwritable"):
        gate.release(world.order(asked, *given))
    kept.full = False
    assert gate.release(world.order(asked, *given))
    assert [one.outcome for one in kept.decisions] == ["granted"]


def test_a_refusal_is_written_down_with_every_reason(world: ReleaseWorld) -> None:
    kept = Kept()
    asked = world.ask()
    with pytest.raises(Refused):
        recorded(world, kept).release(world.order(asked))
    (one,) = kept.decisions
    assert (one.outcome, one.kind, one.requester, one.approvers) == ("refused", "refused", "ada", ())
    assert one.code
    assert one.reasons


def test_an_order_that_cannot_be_read_is_written_down_too(world: ReleaseWorld) -> None:
    kept = Kept()
    with pytest.raises(Malformed):
        recorded(world, kept).release(b"\x00")
    (one,) = kept.decisions
    assert (one.outcome, one.kind, one.requester, one.request) == ("refused", "malformed", "", "")


def test_what_could_not_be_found_out_is_no_refusal(world: ReleaseWorld) -> None:
    kept = Kept()

    def silent(_order: bytes) -> bytes:
        raise Unavailable("no-answer", "the log does not answer")

    gate = Recorded(silent, gate=world.world.gate, journal=world.journal, decisions=kept, clock=Clock(world.world))
    with pytest.raises(Unavailable):
        gate.release(b"{}")
    assert [(one.outcome, one.code) for one in kept.decisions] == [("failed", "no-answer")]


def test_a_flood_of_refusals_is_counted_and_a_grant_in_it_is_written_down(world: ReleaseWorld) -> None:
    kept = Kept()
    asked, given = approved(world)
    gate = recorded(world, kept)
    for _ in range(REFUSALS_PER_MINUTE + 5):
        with pytest.raises(Malformed):
            gate.release(b"\x00")
    assert len(kept.decisions) == REFUSALS_PER_MINUTE
    gate.release(world.order(asked, *given))
    assert (kept.decisions[-1].outcome, kept.decisions[-1].unsaid) == ("granted", 5)
    world.world.now += 60
    with pytest.raises(Malformed):
        gate.release(b"\x00")
    assert (kept.decisions[-1].outcome, kept.decisions[-1].unsaid) == ("refused", 0)


def test_a_refusal_stands_when_it_cannot_be_written_down(world: ReleaseWorld) -> None:
    kept = Kept(full=True)
    gate = recorded(world, kept)
    with pytest.raises(KeyturnError) as caught:
        gate.release(b"\x00")
    assert isinstance(caught.value, Malformed)
    kept.full = False
    with pytest.raises(Malformed):
        gate.release(b"\x00")
    assert kept.decisions[0].unsaid == 1
