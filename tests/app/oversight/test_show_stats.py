"""What the log says of waiting: counted from verified records, over or not."""

from __future__ import annotations

import pytest

from keyturn.app.log.follow_log import follow_log
from keyturn.app.oversight.show_stats import UNUSED_AFTER_S, Stats, read_whole, show_stats
from keyturn.errors import Tampered
from keyturn.formats import dsse
from keyturn.formats.digest import sha256
from keyturn.formats.dsse import Envelope
from keyturn.grants.view import GateView
from support.labs import NOW
from support.world import BREAK_GLASS, Witnessed, World, make_world

DAY_S = 86_400


def view_of(world: World) -> GateView:
    return follow_log(world.start(None), Witnessed(world), now=world.now)


def stats(world: World, *, since: int = NOW - DAY_S, now: int = NOW, lost: frozenset[str] = frozenset()) -> Stats:
    view = view_of(world)
    return show_stats(view, read_whole(view, Witnessed(world, lost=lost)), world.lab.state, since=since, now=now)


def granted(world: World, *, after_s: int, last: str = "eve") -> Envelope:
    asked = world.ask()
    world.approve(asked, "bob", signed_at=NOW)
    world.approve(asked, last, signed_at=NOW + after_s)
    return asked


def test_waits_are_measured_to_the_approval_that_met_the_quorum() -> None:
    world = make_world()
    for after_s in (10, 20, 600):
        granted(world, after_s=after_s)
    found = stats(world, now=NOW + 700)
    assert (found.asked, found.granted, found.wait_median_s, found.waits_s) == (3, 3, 20, (10, 20, 600))
    (waited,) = found.waited
    assert (waited.requester, waited.approver, waited.times, waited.wait_median_s) == ("ada", "eve", 3, 20)


def test_who_approves_for_himself_or_his_agent_has_granted_nothing_and_hides_nothing_that_waits() -> None:
    world = make_world()
    own = world.ask(world.request("bob"))
    agents = world.ask(world.request("bob+ops"))
    for asked in (own, agents):
        for member in ("bob", "eve"):
            world.approve(asked, member)
    found = stats(world)
    assert (found.asked, found.granted, found.waiting) == (2, 0, 2)
    assert found.waited == ()
    assert {one.requester for one in found.stuck} == {"bob", "bob+ops"}


def test_what_ended_is_counted_by_how_it_ended() -> None:
    world = make_world()
    world.deny(world.ask(), "bob")
    world.revoke(world.ask(), "ada")
    world.ask()
    found = stats(world)
    assert (found.asked, found.granted, found.denied, found.revoked, found.lapsed, found.waiting) == (3, 0, 1, 1, 0, 1)
    later = stats(world, now=NOW + 5 * 3600)
    assert (later.lapsed, later.waiting) == (1, 0)


def test_a_request_that_waits_says_who_could_approve() -> None:
    world = make_world()
    asked = world.ask()
    world.approve(asked, "bob")
    (stuck,) = stats(world, now=NOW + 60).stuck
    assert (stuck.id, stuck.waits_s) == (f"req-{asked.record_digest[:32]}", 60)
    assert stuck.could_approve == ("cat", "eve")


def test_what_is_long_over_is_counted_and_what_was_before_is_not() -> None:
    world = make_world()
    granted(world, after_s=5)
    assert stats(world, now=NOW + 300 * DAY_S).granted == 1
    assert stats(world, since=NOW + 1, now=NOW + 300 * DAY_S).asked == 0


@pytest.mark.parametrize(("later_s", "unused"), [(UNUSED_AFTER_S, False), (UNUSED_AFTER_S + 1, True)])
def test_a_permit_that_nobody_used_for_90_days_is_a_finding(later_s: int, unused: bool) -> None:
    world = make_world()
    granted(world, after_s=5)
    release, read = stats(world, now=NOW + later_s).permits
    assert (read.permit, read.asked, read.granted, read.unused) == ("weights-read", 1, 1, unused)
    assert (release.permit, release.asked_last, release.unused) == ("release", None, True)


def test_an_approval_by_whoever_may_not_approve_is_not_counted() -> None:
    world = make_world()
    asked = world.ask()
    world.approve(asked, "bob")
    world.approve(asked, "ada")  # her own request
    assert stats(world).granted == 0


def test_what_could_not_be_read_is_said() -> None:
    world = make_world()
    asked = world.ask()
    approval = world.approve(asked, "bob")
    lost = frozenset({sha256(dsse.render(approval))})
    assert stats(world, lost=lost).unread == 1


def test_a_log_that_shows_other_leaves_now_is_not_counted() -> None:
    world = make_world()
    world.ask()
    view = view_of(world)
    other = make_world()
    other.ask(other.request(justification="another"))
    with pytest.raises(Tampered, match="log-other-leaves"):
        read_whole(view, Witnessed(other))


def test_a_use_by_break_glass_that_nobody_reviewed_is_named_until_somebody_did() -> None:
    world = make_world(policy={"main": BREAK_GLASS})
    use = world.glass_use(world.ask(world.emergency()))
    (found,) = stats(world, now=NOW + 60).unreviewed
    assert (found.id, found.waits_s) == (f"brk-{use.record_digest[:32]}", 60)
    world.review(use, "eve")
    assert stats(world).unreviewed == ()
