"""`context.request.renewal` is what the log has of an access that goes on, and never what a request says of itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from keyturn.errors import Refused
from keyturn.formats.dsse import Envelope
from keyturn.grants.verify_grant import verify_grant
from keyturn.policy.facts import NO_FACTS
from support.world import POLICY, World, make_world

LENIENT = (
    POLICY
    + """
@id("again") @quorum("1 security") @duration_max("2h") @pending_max("8h")
permit (principal in Group::"research", action == Action::"weights:read", resource) when { context.request.renewal };
"""
)


def used(world: World, **changed: object) -> Envelope:
    """An access that people granted, and that its gate let in."""
    first = world.ask(world.request(**changed))  # type: ignore[arg-type]  # fields of a request
    world.use(first, world.approve(first, "bob"), world.approve(first, "eve"))
    return first


def renewal(world: World, follows: str, **changed: object) -> Envelope:
    return world.ask(world.request(permit="again", follows=follows, **changed))  # type: ignore[arg-type]  # as above


def opens(world: World, asked: Envelope) -> bool:
    """Whether one of security is enough, as the permit for renewals says."""
    bundle = world.bundle(asked, world.approve(asked, "bob"))
    try:
        verify_grant(
            bundle, world.view(), now=world.now, gate=world.gate, session_key=world.session.public, facts=NO_FACTS
        )
    except Refused as err:
        if err.code != "permit-not-determining":
            raise
        return False
    return True


def test_an_access_that_was_used_and_goes_on_is_a_renewal() -> None:
    world = make_world(policy={"main": LENIENT})
    assert opens(world, renewal(world, used(world).record_digest))


def _unknown(world: World) -> str:
    return "a" * 64


def _unused(world: World) -> str:
    first = world.ask()
    world.approve(first, "bob")
    world.approve(first, "eve")
    return first.record_digest


def _used_later(world: World) -> str:
    return world.ask(world.request(nonce="f" * 32), submit=False).record_digest


def _of_another(world: World) -> str:
    return used(world, requester="dan").record_digest


def _of_another_thing(world: World) -> str:
    return used(world, resource=f"keyturn://{world.lab.name}/model/other").record_digest


def _revoked(world: World) -> str:
    first = used(world)
    world.revoke(first, "cat")
    return first.record_digest


def _unread(world: World) -> str:
    first = world.ask(world.request(), submit=False)
    world.hide("req", f"request:{first.record_digest}", until=world.now + 7200)
    return first.record_digest


@pytest.mark.parametrize(
    "follows",
    [_unknown, _unused, _used_later, _of_another, _of_another_thing, _revoked, _unread],
    ids=lambda one: one.__name__,
)
def test_what_a_request_says_of_itself_makes_it_no_renewal(follows: Callable[[World], str]) -> None:
    world = make_world(policy={"main": LENIENT})
    assert not opens(world, renewal(world, follows(world)))


def test_what_is_used_after_the_renewal_was_asked_for_or_ended_since_counts_no_more() -> None:
    world = make_world(policy={"main": LENIENT})
    first = world.ask()
    given = world.approve(first, "bob"), world.approve(first, "eve")
    early = renewal(world, first.record_digest)
    world.use(first, *given)
    assert not opens(world, early)
    late, later = renewal(world, first.record_digest), renewal(world, first.record_digest)
    assert opens(world, late)
    world.revoke(first, "cat")
    assert not opens(world, later), "its coworkers ended what it goes on with"


def test_what_may_have_ended_what_goes_on_and_cannot_be_read_counts_as_its_end() -> None:
    world = make_world(policy={"main": LENIENT})
    first = used(world)
    asked = renewal(world, first.record_digest)
    world.hide("rev", f"request:{first.record_digest}", until=world.now + 7200)
    assert not opens(world, asked)
