"""What people say that decides nothing, as readers of the log keep it: offers for live requests, and reviews of access."""

from __future__ import annotations

from keyturn.formats import dsse, records
from keyturn.formats.digest import sha256
from keyturn.formats.review import AccessReport
from support.labs import NOW
from support.world import make_world


def test_the_last_offer_of_each_human_is_kept_while_the_request_lives_and_no_machines() -> None:
    world = make_world()
    asked = world.ask()
    empty = world.view().known.size
    for duration_s in (60, 120):
        world.offer(asked, "bob", duration_s=duration_s)
    world.offer(asked, "bob+ops")
    world.offer(asked, "eve")
    world.offer(world.ask(submit=False), "eve")
    lost = sha256(dsse.render(world.offer(asked, "cat")))
    view = world.view(missing=frozenset({lost}))
    found = view.known.offers[asked.record_digest]
    assert [(one.by, one.duration_s) for one in found] == [("bob", 120), ("eve", 60)]
    assert (view.known.size, view.known.hidden) == (empty + 2, {})
    world.now += 7200
    assert world.read_on(view, at=world.now).known.offers == {}


def test_an_offer_for_a_request_that_was_not_read_is_none() -> None:
    world = make_world()
    raw = dsse.render(world.offer(world.ask(submit=False), "eve"))
    read = world.view().following(now=world.now)
    read.take_if_watched(read.frontier.size, records.leaf_of(raw), raw)
    assert read.known().offers == {}


def test_an_offer_of_somebody_suspended_is_none() -> None:
    world = make_world()
    asked = world.ask()
    world.suspend("cat", target_member="bob")
    world.offer(asked, "bob")
    assert world.view().known.offers == {}


def test_the_last_review_of_access_by_a_human_is_kept() -> None:
    world = make_world()
    use = world.glass_use(world.ask(submit=False))
    first, second = (AccessReport(sha256=x * 64, log_size=1, trust_version=1, as_of=NOW) for x in "ab")
    world.review(use, "ada+coder", use=None, report=first)
    assert world.view().known.access_reviewed is None
    world.review(use, "eve", use=None, report=first)
    world.review(use, "ada", use=None, report=second)
    last = world.view().known.access_reviewed
    assert last is not None
    assert (last.by, last.report) == ("ada", second)
    assert use.record_digest in world.view().known.unreviewed, "and it is no review of a use"
