"""When a grant is open, step 8 of `verify_grant`: a function of the request and its approvals that nobody moves."""

from __future__ import annotations

import pytest

from keyturn.errors import Refused
from keyturn.grants import checks
from keyturn.grants.bundle import Bundle
from keyturn.grants.verify_grant import VerifiedGrant, verify_grant
from keyturn.grants.view import GateView
from keyturn.grants.window import window_of
from keyturn.policy.facts import NO_FACTS
from support.labs import NOW
from support.world import World, make_world


def verify(world: World, bundle: Bundle, view: GateView | None = None, *, now: int) -> VerifiedGrant:
    return verify_grant(
        bundle,
        view or world.view(),
        now=now,
        gate=world.gate,
        session_key=world.session.public,
        facts=NO_FACTS,
    )


@pytest.mark.parametrize(
    ("signed", "now", "window"),
    [
        pytest.param(
            (NOW, NOW + 50), NOW + 50, (NOW + 50, NOW + 3650), id="it opens when the second approval is signed"
        ),
        pytest.param((NOW + 50, NOW), NOW + 50, (NOW + 50, NOW + 3650), id="in whatever order"),
        pytest.param((NOW - 90, NOW - 50), NOW, (NOW, NOW + 3600), id="never before not_before"),
        pytest.param((NOW, NOW + 50), NOW + 49, "window-not-yet", id="not a second before the quorum was met"),
        pytest.param((NOW, NOW), NOW + 3599, (NOW, NOW + 3600), id="the last second"),
        pytest.param((NOW, NOW), NOW + 3600, "window-over", id="over after duration_s"),
    ],
)
def test_the_window_starts_when_the_quorum_was_met(
    signed: tuple[int, int], now: int, window: tuple[int, int] | str
) -> None:
    world = make_world()
    asked = world.ask()
    given = [world.approve(asked, who, signed_at=at) for who, at in zip(("bob", "eve"), signed, strict=True)]
    view, bundle = world.view(), world.bundle(asked, *given)
    if isinstance(window, str):
        with pytest.raises(Refused, match=window):
            verify(world, bundle, view, now=now)
    else:
        found = verify(world, bundle, view, now=now).granted.window
        assert (found.starts_at, found.ends_at) == window


def test_a_window_never_goes_past_not_after_and_never_starts_after_start_by() -> None:
    world = make_world()
    asked = world.ask(world.request(not_after=NOW + 3600, start_by=NOW + 10))
    given = [world.approve(asked, "bob"), world.approve(asked, "eve", signed_at=NOW + 10)]
    found = verify(world, world.bundle(asked, *given), now=NOW + 11).granted.window
    assert (found.starts_at, found.ends_at) == (NOW + 10, NOW + 3600)
    late = world.ask(world.request(start_by=NOW + 10))
    given = [world.approve(late, "bob"), world.approve(late, "eve", signed_at=NOW + 11)]
    with pytest.raises(Refused, match="window-missed"):
        verify(world, world.bundle(late, *given), now=NOW + 12)


def test_more_approvals_do_not_move_the_window() -> None:
    world = make_world()
    asked = world.ask()
    given = [
        world.approve(asked, who, signed_at=NOW + late)
        for who, late in (("bob", 0), ("eve", 10), ("cat", 40), ("dan", 45))
    ]
    assert verify(world, world.bundle(asked, *given), now=NOW + 50).granted.window.starts_at == NOW + 10


def test_people_who_do_not_make_the_quorum_do_not_open_the_window() -> None:
    world = make_world()
    asked = world.ask()
    given = [world.approve(asked, who, signed_at=NOW + late) for who, late in (("bob", 0), ("dan", 10), ("eve", 20))]
    assert verify(world, world.bundle(asked, *given), now=NOW + 50).granted.window.starts_at == NOW + 20


def test_a_window_without_a_quorum_does_not_start() -> None:
    world = make_world()
    asked = world.ask()
    policy = world.view().shelf.policy(world.lab.state)
    made = checks.parse_bundle(world.bundle(asked)).made
    for people in ({"bob": NOW}, {"bob": NOW, "dan": NOW}):
        with pytest.raises(Refused, match="quorum-not-met"):
            window_of(made, people, (policy,))
