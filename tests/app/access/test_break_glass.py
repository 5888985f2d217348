"""Break-glass as people ask for it, agree to it in a file, and review it."""

from __future__ import annotations

import pytest

from keyturn.app.access import authorize, break_glass_file, request_access, review_use, show_grants, take_away
from keyturn.app.oversight.show_stats import read_whole, show_stats
from keyturn.errors import Refused
from keyturn.grants import bundle as bundles
from keyturn.grants.break_glass import verify_break_glass
from keyturn.policy.facts import NO_FACTS
from support.asking import asked, draft, hand, view_of
from support.labs import NOW
from support.world import BREAK_GLASS, Witnessed, World, make_world


def emergency(world: World) -> authorize.Pending:
    return asked(world, break_glass=True)


def glass_world() -> World:
    return make_world(policy={"main": BREAK_GLASS})


def test_a_break_glass_request_is_over_within_the_hour_and_is_shown_as_one() -> None:
    world = glass_world()
    made = draft(world, break_glass=True)
    assert (made.permit, made.break_glass_at, made.not_after) == ("repair", NOW, NOW + 3600)
    assert "YES, signed at 2026-09-21T14:13:20Z" in dict(request_access.shown(made, ()))["break-glass"]
    assert draft(world).permit == "weights-read", "and nothing else is by such a permit"
    with pytest.raises(Refused, match="permit-none"):
        draft(make_world(), break_glass=True)
    with pytest.raises(Refused, match="permit-other-glass"):
        draft(world, break_glass=True, permit="weights-read")
    with pytest.raises(Refused, match="is for break-glass alone"):
        policy = world.view().shelf.policy(world.lab.state)
        request_access.require_hope(draft(world, permit="repair"), policy, gates=world.lab.state.gates, now=NOW)


def test_what_would_not_end_break_glass_is_refused_before_it_is_signed() -> None:
    world = glass_world()
    pending = emergency(world)
    view = view_of(world)
    keyid = world.key("dan").public.keyid
    with pytest.raises(Refused, match="denial-without-effect"):
        authorize.require_can_authorize(
            pending, world.lab.state, view, member="dan", keyid=keyid, now=NOW, approve=False
        )
    with pytest.raises(Refused, match="revocation-without-effect"):
        take_away.revoke(pending, hand(world, "dan"), world.lab.state, view, reason="no")
    world.deny(world.ask(world.emergency(), submit=False), "dan")
    take_away.revoke(pending, hand(world, "cat"), world.lab.state, view, reason="no")
    view = view_of(world)
    assert show_grants.live_request(view, world.lab.state, pending.digest, now=NOW).state == "revoked"
    with pytest.raises(Refused, match="request-ended"):
        authorize.require_can_authorize(
            pending,
            world.lab.state,
            view,
            member="bob",
            keyid=world.key("bob").public.keyid,
            now=NOW,
            approve=True,
        )


def test_a_denial_of_break_glass_is_not_shown_as_its_end() -> None:
    world = glass_world()
    request = world.ask(world.emergency())
    world.approve(request, "bob")
    world.deny(request, "dan")
    view = view_of(world)
    live = show_grants.live_request(view, world.lab.state, request.record_digest, now=NOW)
    assert (live.state, live.withdrawn_by) == ("open", None)
    stats = show_stats(view, read_whole(view, Witnessed(world)), world.lab.state, since=0, now=NOW)
    assert (stats.granted, stats.denied) == (1, 0)
    world.glass_use(request)
    assert show_grants.live_request(view_of(world), world.lab.state, request.record_digest, now=NOW).state == "used"


def test_break_glass_is_asked_and_approved_in_a_file_without_the_log() -> None:
    world = glass_world()
    made = draft(world, break_glass=True)
    bundle = break_glass_file.start_bundle(made, subjects=request_access.of_resource(made), key=world.key("ada"))
    pending = break_glass_file.pending_in(bundle)
    fixed = world.clock

    def approve(member: str, into: bundles.Bundle) -> bundles.Bundle:
        return break_glass_file.add_approval(
            into, pending, member=member, reason="", key=world.key(member), clock=fixed, entropy=fixed
        )

    done = approve("bob", bundle)
    with pytest.raises(Refused, match="request-approved-already"):
        approve("bob", done)
    grant = verify_break_glass(
        approve("cat", done),
        world.view(),
        now=NOW,
        gate=world.gate,
        session_key=world.session.public,
        facts=NO_FACTS,
        journal=(),
    )
    assert grant.granted.digest == pending.digest
    ordinary = draft(world)
    with pytest.raises(Refused, match="break-glass-none"):
        break_glass_file.start_bundle(ordinary, subjects=request_access.of_resource(ordinary), key=world.key("ada"))
    with pytest.raises(Refused, match="break-glass-none"):
        break_glass_file.pending_in(world.bundle(world.ask()))
    with pytest.raises(Refused, match="request-other-key"):
        break_glass_file.start_bundle(made, subjects=request_access.of_resource(made), key=world.key("dan"))


def test_a_use_by_break_glass_is_listed_until_a_second_person_reviewed_it() -> None:
    world = glass_world()
    request = world.ask(world.emergency())
    use = world.glass_use(request)
    view = view_of(world)
    (found,) = review_use.unreviewed(view)
    assert (found.id[4:], found.could_review) == (use.record_digest[:32], ("cat", "dan", "eve"))
    assert "keyturn://acme.example/model/aurora by ada" in found.text
    assert review_use.find_unreviewed(view, found.id[:12]) == found
    with pytest.raises(Refused, match="break-glass-unknown"):
        review_use.find_unreviewed(view, "brk-00000000")
    behind = review_use.request_behind(read_whole(view, Witnessed(world)), found.use)
    assert behind is not None
    assert behind.justification == "a look at the loss"
    assert review_use.request_behind(view_of(glass_world()).known, found.use) is None
    for member in ("ada", "bob"):
        with pytest.raises(Refused, match="review-own"):
            review_use.review_use(found, hand(world, member), world.lab.state, view, finding="fine")
    assert review_use.review_use(found, hand(world, "eve"), world.lab.state, view, finding="fine").id.startswith("rvw-")
    assert review_use.unreviewed(view_of(world)) == ()
