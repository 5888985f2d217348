"""What is shown of requests: how each stands, why, and what it still needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from keyturn.adapters.log_in_memory import LogInMemory
from keyturn.app.access import show_grants, take_away
from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import Refused
from support.asking import ONLY_RELEASES, asked, hand, say, view_of
from support.labs import NOW
from support.world import POLICY, World, make_world


def test_the_life_of_a_request_is_listed_and_explained() -> None:
    world = make_world()
    trust = world.lab.state
    pending = asked(world, duration_s=100)

    def explained(now: int = NOW) -> tuple[str, ...]:
        view = world.read_on(world.start(None), now=now, at=now)
        return show_grants.explain_grant(view, trust, pending.digest, now=now).sentences

    def state(now: int = NOW) -> str:
        (live,) = show_grants.list_grants(world.read_on(world.start(None), now=now, at=now), trust, now=now)
        assert live.profile == "demo"
        return live.state

    assert state() == "asked"
    assert state(pending.made.start_by + 1) == "lapsed"
    (lapsed,) = explained(pending.made.start_by + 1)
    assert lapsed.startswith("its quorum was not met by 20")
    found = show_grants.explain_grant(view_of(world), trust, pending.digest, now=NOW)
    assert found.could_approve == ("bob", "cat", "eve")
    world.suspend("cat", target_member="bob")
    assert show_grants.explain_grant(view_of(world), trust, pending.digest, now=NOW).could_approve == ("cat", "eve")
    for member in ("cat", "dan"):
        say(world, pending, member)
    assert state() == "asked"
    world.now = NOW + 3600
    say(world, pending, "eve")
    world.now = NOW
    assert state() == "agreed"
    assert state(NOW + 3600) == "open"
    assert state(NOW + 3700) == "over"
    (over,) = explained(NOW + 3700)
    assert over.startswith("it was open until 20")
    say(world, pending, "dan", "deny")
    assert state() == "denied"
    (denied,) = explained()
    assert denied.startswith("`dan` denied it: ")
    with pytest.raises(Refused, match="request-unknown"):
        show_grants.live_request(view_of(world), trust, "0" * 64, now=NOW)


def test_who_ended_a_request_is_said_by_what_he_did() -> None:
    for member, verb in (("ada", "withdrew"), ("cat", "revoked")):
        world = make_world()
        pending = asked(world)
        take_away.revoke(pending, hand(world, member), world.lab.state, view_of(world), reason="enough")
        found = show_grants.explain_grant(view_of(world), world.lab.state, pending.digest, now=NOW)
        assert found.sentences == (f"`{member}` {verb} it: enough; whoever needs it asks again",)
        assert found.could_approve == ()


def test_an_approval_by_somebody_suspended_is_explained_as_one_that_does_not_count() -> None:
    world = make_world()
    pending = asked(world)
    say(world, pending, "bob")
    world.suspend("cat", target_member="bob")
    found = show_grants.explain_grant(view_of(world), world.lab.state, pending.digest, now=NOW)
    assert found.sentences[0] == "`bob` is suspended: this approval does not count meanwhile"
    assert "bob" not in found.could_approve


@pytest.mark.parametrize(
    ("change", "why"),
    [
        pytest.param(lambda world: {"policy": {"main": ONLY_RELEASES}}, "is no permit of", id="its permit is gone"),
        pytest.param(
            lambda world: {"policy": {"main": POLICY.replace("1 weights-owners + 1 security", "9 security")}},
            "if everybody approved who may",
            id="its quorum became one that nobody fills",
        ),
        pytest.param(
            lambda world: {"policy": {"main": POLICY.replace('Group::"research"', 'Group::"security"')}},
            "does not apply to `ada`",
            id="its permit is for others",
        ),
    ],
)
def test_a_request_that_nobody_can_approve_any_more_is_said_to_be_hopeless_and_names_nobody(
    change: Callable[[World], dict[str, Any]], why: str
) -> None:
    world = make_world()
    pending = asked(world)
    assert not show_grants.explain_grant(view_of(world), world.lab.state, pending.digest, now=NOW).hopeless
    world.publish(**change(world))
    found = show_grants.explain_grant(view_of(world), world.lab.state, pending.digest, now=NOW)
    assert (found.hopeless, found.could_approve) == (True, ())
    assert found.sentences[0].startswith("HOPELESS: ")
    assert any(why in sentence and "trust version 2" in sentence for sentence in found.sentences), found.sentences
    assert f"keyturn grant withdraw {pending.id}" in found.sentences[-1]


def test_a_request_whose_gate_is_gone_is_said_to_be_hopeless() -> None:
    world = make_world()
    pending = asked(world)
    world.publish(gates={})
    found = show_grants.explain_grant(view_of(world), world.lab.state, pending.digest, now=NOW)
    assert (found.hopeless, found.could_approve) == (True, ())
    assert "is no gate of the lab" in found.sentences[1]


def test_a_request_of_another_trust_version_than_the_log_has_is_hopeless() -> None:
    world = make_world()
    pending = asked(world)
    envelope = world.ask(msgspec.structs.replace(pending.made, trust_version=7, nonce="f" * 32))
    found = show_grants.explain_grant(view_of(world), world.lab.state, envelope.record_digest, now=NOW)
    assert found.hopeless
    assert "trust version 7" in found.sentences[1]


def test_a_used_one_shot_and_a_revoked_request_say_so() -> None:
    world = make_world()
    envelope = world.ask(world.release())
    given = [world.approve(envelope, member) for member in ("bob", "cat")]
    world.use(envelope, *given)
    view = view_of(world)
    live = show_grants.live_request(view, world.lab.state, envelope.record_digest, now=NOW)
    assert (live.state, live.approvers) == ("used", ("bob", "cat"))
    assert show_grants.explain_grant(view, world.lab.state, envelope.record_digest, now=NOW).sentences == ()
    world.revoke(envelope, "dan")
    assert show_grants.live_request(view_of(world), world.lab.state, envelope.record_digest, now=NOW).state == "revoked"


def test_a_request_by_an_unknown_permit_has_no_window() -> None:
    world = make_world()
    envelope = world.ask(world.request(permit="gone"))
    live = show_grants.live_request(view_of(world), world.lab.state, envelope.record_digest, now=NOW)
    assert (live.state, live.window) == ("asked", None)
    assert isinstance(world.key("ada"), SoftwareKey)
    assert isinstance(world.log, LogInMemory)
