"""Counter-offers: a person says to what he would agree, and whoever asked signs a request for less that follows his own."""

from __future__ import annotations

import pytest

from keyturn.app.access import authorize, counter_offer, request_access, show_grants
from keyturn.app.access.take_away import Hand
from keyturn.app.log.follow_log import follow_log
from keyturn.errors import Refused, Usage
from keyturn.formats import dsse
from keyturn.formats.access import AccessRequest
from keyturn.formats.digest import sha256
from keyturn.grants.view import GateView
from support.labs import NOW
from support.world import BREAK_GLASS, Witnessed, World, make_world


def hand(world: World, member: str) -> Hand:
    return Hand(member, world.key(member), world.log, world.clock, world.clock)


def view_of(world: World) -> GateView:
    return follow_log(world.start(None), Witnessed(world), now=world.now)


def pending_of(world: World, made: AccessRequest | None = None) -> authorize.Pending:
    asked = world.ask(made)
    return authorize.find_pending(view_of(world), f"req-{asked.record_digest}")


def offer(world: World, pending: authorize.Pending, member: str = "bob", **less: int) -> str:
    terms = {"duration_s": less.get("duration_s"), "bytes_max": less.get("bytes_max")}
    done = counter_offer.offer_less(
        pending, hand(world, member), world.lab.state, view_of(world), reason="a minute will do", **terms
    )
    return done.id


def accept(world: World, offered: str, member: str = "ada") -> AccessRequest:
    view = view_of(world)
    request, found = counter_offer.find_offer(view, offered)
    return counter_offer.draft_counter(
        authorize.find_pending(view, f"req-{request}"),
        found,
        member=member,
        keyid=world.key(member).public.keyid,
        trust_version=1,
        clock=world.clock,
        entropy=world.clock,
    )


def test_an_offer_becomes_a_request_that_follows_the_first_and_both_show_it() -> None:
    world = make_world()
    pending = pending_of(world)
    offered = offer(world, pending, duration_s=60, bytes_max=5)
    world.now += 30
    made = accept(world, offered)
    assert (made.duration_s, made.bytes_max, made.follows, made.not_before) == (60, 5, pending.digest, NOW + 30)
    assert (made.start_by, made.not_after) == (NOW + 3600, NOW + 3660)
    assert (made.justification, made.session_key) == (pending.made.justification, pending.made.session_key)
    request_access.require_hope(made, world.view().shelf.policy(world.lab.state), gates=world.lab.state.gates, now=NOW)
    logged = request_access.request_access(made, subjects=pending.subjects, key=world.key("ada"), log=world.log)
    view = view_of(world)
    first = show_grants.linked(view, pending.made, pending.digest, now=NOW)
    assert ([one.by for one in first.offers], first.follows, first.followed_by) == (["bob"], None, (logged.id,))
    second = show_grants.linked(view, made, logged.digest, now=NOW)
    assert (second.offers, second.follows, second.followed_by) == ((), pending.id, ())


def test_nobody_elses_request_is_shown_as_what_follows() -> None:
    world = make_world()
    pending = pending_of(world)
    world.ask(world.request("dan", follows=pending.digest))
    assert show_grants.linked(view_of(world), pending.made, pending.digest, now=NOW).followed_by == ()


@pytest.mark.parametrize(
    ("end", "said"),
    [
        pytest.param("deny", "bob denied it: not now", id="a denial"),
        pytest.param("revoke", "bob revoked it: enough", id="a revocation"),
        pytest.param("withdraw", None, id="taken back by who asked"),
        pytest.param("", None, id="nothing"),
    ],
)
def test_what_coworkers_ended_is_not_renewed_and_whoever_names_it_all_the_same_is_shown_so(
    end: str, said: str | None
) -> None:
    world = make_world()
    asked = world.ask()
    if end == "deny":
        world.deny(asked, "bob")
    elif end:
        world.revoke(asked, "bob" if end == "revoke" else "ada")
    after = world.ask(world.request(follows=asked.record_digest))
    view = view_of(world)
    first = authorize.find_pending(view, f"req-{asked.record_digest}")
    second = authorize.find_pending(view, f"req-{after.record_digest}")
    shown = show_grants.linked(view, second.made, second.digest, now=NOW).follows_ended
    if said is None:
        request_access.require_renewable(view, first.digest, first.made, now=NOW)
        return
    assert shown == said
    with pytest.raises(Refused, match="renewal-of-ended"):
        request_access.require_renewable(view, first.digest, first.made, now=NOW)


def test_an_offer_grants_nothing_and_ends_nothing() -> None:
    world = make_world()
    pending = pending_of(world)
    offer(world, pending, duration_s=60)
    live = show_grants.live_request(view_of(world), world.lab.state, pending.digest, now=NOW)
    assert (live.state, live.approvers) == ("asked", ())


def test_what_is_no_offer_of_less_is_refused_before_it_is_signed() -> None:
    world = make_world(policy={"main": BREAK_GLASS})
    pending = pending_of(world, world.request(bytes_max=10))
    with pytest.raises(Usage, match="offer-empty"):
        offer(world, pending)
    for less in ({"duration_s": 3600}, {"bytes_max": 10}, {"duration_s": 60, "bytes_max": 11}):
        with pytest.raises(Refused, match="offer-not-less"):
            offer(world, pending, **less)
    with pytest.raises(Refused, match="offer-one-shot"):
        offer(world, pending_of(world, world.release()), duration_s=60)
    with pytest.raises(Refused, match="approver-concerned"):
        offer(world, pending, "ada", duration_s=60)
    with pytest.raises(Refused, match="signer-not-human"):
        offer(world, pending, "bob+ops", duration_s=60)


def test_only_whoever_asked_takes_an_offer_and_only_while_the_request_lives() -> None:
    world = make_world()
    offered = offer(world, pending_of(world), duration_s=60)
    with pytest.raises(Refused, match="offer-other"):
        accept(world, offered, "dan")
    with pytest.raises(Refused, match="offer-unknown"):
        accept(world, "ofr-00000000")
    world.now += 7200
    with pytest.raises(Refused, match="offer-unknown"):
        accept(world, offered)


def test_an_offer_for_break_glass_stays_within_its_hour() -> None:
    world = make_world(policy={"main": BREAK_GLASS})
    offered = offer(world, pending_of(world, world.emergency()), duration_s=60)
    world.now += 600
    made = accept(world, offered)
    assert (made.break_glass_at, made.not_after) == (NOW + 600, NOW + 1860)


def test_the_last_offer_of_each_human_is_known_and_no_machines() -> None:
    world = make_world()
    asked = world.ask()
    empty = view_of(world).known.size
    for duration_s in (60, 120):
        world.offer(asked, "bob", duration_s=duration_s)
    world.offer(asked, "bob+ops")
    world.offer(asked, "eve")
    world.offer(world.ask(submit=False), "eve")
    lost = sha256(dsse.render(world.offer(asked, "cat")))
    view = follow_log(world.start(None), Witnessed(world, lost=frozenset({lost})), now=NOW)
    found = view.known.offers[asked.record_digest]
    assert [(one.by, one.duration_s) for one in found] == [("bob", 120), ("eve", 60)]
    assert (view.known.size, view.known.hidden) == (empty + 2, {})
