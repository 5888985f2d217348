"""What a builder knows: only what a witnessed log says, as of now, from the root that its operator pinned."""

from __future__ import annotations

import pytest

from keyturn.adapters.log_in_memory import LogInMemory
from keyturn.app.custody.follow_as_builder import BuilderView
from keyturn.errors import KeyturnError, Refused, Unavailable
from support.labs import NOW, make_lab
from support.witnessed import publish, witnessed_note
from support.world import World


class Clock:
    def __init__(self, time: int) -> None:
        self.time = time

    def now(self) -> int:
        return self.time


@pytest.fixture
def world() -> World:
    return World(make_lab(humans=("ada", "bob", "eve"), groups={"security": ("bob",)}))


def view_of(world: World, *, log: LogInMemory | None = None, at: int = NOW) -> BuilderView:
    lab = world.lab
    return BuilderView(lab.root_json, pinned_sha256=lab.root_sha256, log=log or world.log, clock=Clock(at))


def keyid(world: World, member: str) -> str:
    return world.lab.member_keys[member].public.keyid


def test_it_knows_the_newest_trust_of_the_log(world: World) -> None:
    publish(world.lab, world.log)
    view = view_of(world)
    assert view.trust_now().trust.targets_version == 1
    world.lab = world.lab.publish()
    world.sync_trust()
    publish(world.lab, world.log)
    assert view.trust_now().trust.targets_version == 2


def test_a_suspension_in_the_log_is_seen_at_the_next_order(world: World) -> None:
    publish(world.lab, world.log)
    view = view_of(world)
    view.trust_now().require_unsuspended("ada", keyid(world, "ada"))
    world.suspend("bob", target_member="ada")
    publish(world.lab, world.log)
    with pytest.raises(Refused):
        view.trust_now().require_unsuspended("ada", keyid(world, "ada"))
    view.trust_now().require_unsuspended("eve", keyid(world, "eve"))


def test_a_log_that_nobody_witnessed_says_nothing(world: World) -> None:
    tree = world.log.settle()
    world.log.swap("checkpoint", None, witnessed_note(world.lab, tree.size, tree.root, witnesses=()))
    with pytest.raises(Refused):
        view_of(world).trust_now()


def test_an_old_checkpoint_says_nothing(world: World) -> None:
    publish(world.lab, world.log)
    with pytest.raises(Refused) as caught:
        view_of(world, at=NOW + 3601).trust_now()
    assert caught.value.code == "view-stale"


def test_a_log_that_forgot_what_it_showed_is_refused(world: World) -> None:
    publish(world.lab, world.log)
    view = view_of(world)
    world.suspend("bob", target_member="ada")
    note = publish(world.lab, world.log)
    view.trust_now()
    assert note
    other = World(world.lab)
    publish(other.lab, other.log)
    view._log = other.log
    with pytest.raises(Unavailable) as caught:
        view.trust_now()
    assert caught.value.code == "log-behind"


def test_a_log_without_a_checkpoint_is_not_an_empty_one(world: World) -> None:
    with pytest.raises(KeyturnError):
        view_of(world).trust_now()


def test_another_root_than_the_pinned_one_is_refused(world: World) -> None:
    with pytest.raises(Refused) as caught:
        BuilderView(world.lab.root_json, pinned_sha256="0" * 64, log=world.log, clock=Clock(NOW))
    assert caught.value.code == "trust-root-not-pinned"
