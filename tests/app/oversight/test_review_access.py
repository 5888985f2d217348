"""The access report: who may ask, who could approve, when it was used; and a person's signed word that he looked at it."""

from __future__ import annotations

import pytest

from keyturn.app.access.take_away import Hand
from keyturn.app.log.follow_log import follow_log
from keyturn.app.oversight.review_access import Access, AccessOfAll, access_of_all, attest_review
from keyturn.app.oversight.show_stats import Stats, read_whole, show_stats
from keyturn.errors import Refused
from keyturn.formats.review import AccessReport
from keyturn.grants.view import GateView
from support.labs import NOW
from support.world import BREAK_GLASS, Witnessed, World, make_world

DAY_S = 86_400


def view_of(world: World) -> GateView:
    return follow_log(world.start(None), Witnessed(world), now=world.now)


def report(world: World, *, now: int | None = None) -> AccessOfAll:
    view = view_of(world)
    at = world.now if now is None else now
    stats = show_stats(view, read_whole(view, Witnessed(world)), world.lab.state, since=0, now=at)
    return access_of_all(view, view.shelf.policy(world.lab.state), stats)


def access(world: World, permit: str, *, now: int | None = None) -> Access:
    return next(one for one in report(world, now=now).permits if one.permit == permit)


def test_each_permit_is_listed_with_who_may_ask_and_who_could_approve() -> None:
    world = make_world(policy={"main": BREAK_GLASS})
    found = report(world)
    assert [one.permit for one in found.permits] == ["release", "repair", "weights-read"]
    weights = access(world, "weights-read")
    assert (weights.asks, weights.could_approve) == (("ada", "ada+coder", "dan"), ("bob", "cat", "eve"))
    assert (weights.asked_last, weights.granted_last, weights.unused) == (-1, -1, True)
    assert access(world, "repair").break_glass
    assert found.publishers == tuple(sorted(world.lab.state.publishers))


def test_an_agent_and_whoever_can_approve_for_nobody_is_not_listed_as_one_who_could() -> None:
    world = make_world(groups={"research": ("ada",), "security": ("ada", "bob", "bob+ops"), "weights-owners": ("eve",)})
    assert access(world, "release").could_approve == ("bob",)


def test_use_is_what_was_granted_and_what_nobody_asked_for_in_90_days_is_unused() -> None:
    world = make_world()
    asked = world.ask()
    assert (access(world, "weights-read").asked_last, access(world, "weights-read").granted_last) == (NOW, -1)
    for who in ("bob", "eve"):
        world.approve(asked, who, signed_at=NOW + 60)
    assert access(world, "weights-read").granted_last == NOW + 60
    for days, unused in ((90, False), (91, True)):
        assert access(world, "weights-read", now=NOW + days * DAY_S).unused is unused


def test_the_report_has_one_digest_which_changes_with_what_it_says() -> None:
    world = make_world()
    before = report(world)
    assert before.sha256 == report(world).sha256
    world.publish(policy={"main": BREAK_GLASS})
    assert report(world).sha256 != before.sha256
    with pytest.raises(Refused, match="view-empty"):
        access_of_all(world.start(None), view_of(world).shelf.policy(world.lab.state), show_of(world))


def show_of(world: World) -> Stats:
    view = view_of(world)
    return show_stats(view, read_whole(view, Witnessed(world)), world.lab.state, since=0, now=NOW)


def test_a_persons_review_is_known_and_no_machines() -> None:
    world = make_world()
    found = report(world)

    def attest(member: str) -> str:
        hand = Hand(member, world.key(member), world.log, world.clock, world.clock)
        return attest_review(found, hand, world.lab.state, view_of(world), finding="as it should be").id

    assert view_of(world).known.access_reviewed is None
    with pytest.raises(Refused, match="signer-not-human"):
        attest("ada+coder")
    assert attest("eve").startswith("rvw-")
    last = view_of(world).known.access_reviewed
    assert last is not None
    assert (last.by, last.signed_at, last.report.sha256) == ("eve", NOW, found.sha256)
    world.suspend("cat", target_member="bob")
    with pytest.raises(Refused, match="suspended"):
        attest("bob")


def test_a_review_of_access_that_a_machine_logged_itself_counts_for_nothing() -> None:
    world = make_world()
    use = world.glass_use(world.ask(world.emergency(), submit=False))
    report_of = AccessReport(sha256="ab" * 32, log_size=1, trust_version=1, as_of=NOW)
    world.review(use, "ada+coder", report=report_of, use=None)
    assert view_of(world).known.access_reviewed is None
