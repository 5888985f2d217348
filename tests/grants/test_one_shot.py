"""A one-shot acts once: after its use is witnessed, and only if that use is the first."""

from __future__ import annotations

import pytest

from keyturn.errors import Refused, Unavailable
from keyturn.grants.verify_grant import ready_to_use
from keyturn.policy.facts import NO_FACTS
from support.labs import NOW
from support.verifying import agreed, dsse_digest, one_shot, ready, verify
from support.world import make_world


def test_a_one_shot_acts_only_after_its_use_is_witnessed_and_first() -> None:
    world = make_world()
    asked, given, bundle = one_shot(world)
    assert ready(world, bundle).granted.permit.one_shot
    with pytest.raises(Refused, match="one-shot-not-logged"):
        verify(world, bundle, session=None)
    use = world.use(asked, *given)
    world.use(asked, *given)
    assert verify(world, bundle, session=None).use == use.record_digest
    with pytest.raises(Refused, match="one-shot-used"):
        ready(world, bundle)


def test_a_one_shot_that_another_gate_used_first_is_refused() -> None:
    world = make_world(
        resources={"model/aurora": (), "gate/all": (), "gate/release": ("gate/all",), "gate/other": ("gate/all",)}
    )
    asked = world.ask(world.release(gate=str(world.lab.gate_uri("all"))))
    given = [world.approve(asked, "bob"), world.approve(asked, "cat")]
    world.use(asked, *given, gate="other")
    world.use(asked, *given)
    with pytest.raises(Refused, match="one-shot-used"):
        verify(world, world.bundle(asked, *given), session=None)


@pytest.mark.parametrize("approvals", [(), ("d" * 64,)])
def test_a_use_that_names_other_approvals_is_refused(approvals: tuple[str, ...]) -> None:
    world = make_world()
    asked, _, bundle = one_shot(world)
    world.use(asked, approvals=approvals)
    with pytest.raises(Refused, match="one-shot-approvals"):
        verify(world, bundle, session=None)


def test_a_use_that_cannot_be_read_leaves_the_one_shot_closed() -> None:
    world = make_world()
    asked, given, bundle = one_shot(world)
    view = world.view(missing=frozenset({dsse_digest(world.use(asked, *given))}))
    with pytest.raises(Unavailable, match="negative-unread"):
        verify(world, bundle, view, session=None)
    with pytest.raises(Unavailable, match="negative-unread"):
        ready(world, bundle, view)


def test_a_session_is_no_one_shot() -> None:
    world = make_world()
    _, bundle = agreed(world, session_key=None)
    with pytest.raises(Refused, match="session-key-missing"):
        ready(world, bundle)
    _, bundle = agreed(world)
    with pytest.raises(Refused, match="not-a-one-shot"):
        ready_to_use(bundle, world.view(), now=NOW, gate=world.gate, session_key=world.session.public, facts=NO_FACTS)
