"""What was asked for is judged by the trust and the policy of then, and by those of now."""

from __future__ import annotations

import pytest

from keyturn.errors import Refused
from keyturn.formats.access import HumanAuthorization
from keyturn.grants import checks
from keyturn.policy.facts import NO_FACTS
from keyturn.trust.roster import Group, Member, Roster
from support.labs import NOW, make_key
from support.verifying import agreed, verify, with_roster
from support.world import POLICY, make_world


def test_the_policy_of_the_request_and_the_newest_must_both_allow() -> None:
    """The policy tightens while a request is open, and the old one does not count alone; nor does the new one."""
    world = make_world()
    asked, bundle = agreed(world)
    world.lab = world.lab.publish(
        policy={"main": POLICY.replace("1 weights-owners + 1 security", "2 weights-owners + 1 security")}
    )
    world.sync_trust()
    with pytest.raises(Refused) as caught:
        verify(world, bundle)
    assert caught.value.code == "quorum-not-met"

    strict = make_world(
        policy={"main": POLICY.replace("1 weights-owners + 1 security", "2 weights-owners + 1 security")}
    )
    asked, bundle = agreed(strict)
    strict.lab = strict.lab.publish(policy={"main": POLICY})
    strict.sync_trust()
    with pytest.raises(Refused, match="quorum-not-met"):
        verify(strict, bundle)


def test_who_joins_the_approving_group_while_a_request_is_open_does_not_count() -> None:
    world = make_world()
    asked = world.ask()
    roster = world.lab.contents.roster
    groups = {**roster.groups, "weights-owners": Group("weights-owners", frozenset({"cat", "eve", "dan"}))}
    with_roster(world, Roster(roster.lab, roster.members, groups))
    given = [world.approve(asked, who, trust_version=1) for who in ("bob", "dan")]
    with pytest.raises(Refused, match="quorum-not-met"):
        verify(world, world.bundle(asked, *given))


def test_a_key_that_was_enrolled_after_the_request_cannot_approve_it() -> None:
    world = make_world()
    asked = world.ask()
    roster = world.lab.contents.roster
    new = make_key("bob's new key")
    bob = roster.members["bob"]
    renewed = Member(bob.id, "human", bob.name, (*bob.keys, type(bob.keys[0])(new.public, "software")))
    with_roster(world, Roster(roster.lab, {**roster.members, "bob": renewed}, roster.groups))
    made = HumanAuthorization(
        lab="acme.example",
        nonce=world.nonce(),
        approver="bob",
        key=new.public.keyid,
        request=asked.record_digest,
        trust_version=1,
        decision="approve",
        signed_at=NOW,
        expires_at=NOW + 100,
    )
    envelope = world.submit(world.sign(made, f"sha256:{asked.record_digest}", new))
    with pytest.raises(Refused, match="approver-key-unknown"):
        verify(world, world.bundle(asked, envelope))


def test_an_unknown_trust_version_is_refused() -> None:
    world = make_world()
    asked = world.ask(world.request(trust_version=7))
    with pytest.raises(Refused, match="trust-version-unknown"):
        verify(world, world.bundle(asked))


def test_a_policy_that_fails_to_load_opens_nothing() -> None:
    world = make_world()
    _, bundle = agreed(world)
    for broken in ("permit (principal, action, resource);", "not a policy"):
        world.lab = world.lab.publish(policy={"main": broken})
        world.sync_trust()
        view = world.view()
        for _ in range(2):
            with pytest.raises(Refused, match="policy-"):
                verify(world, bundle, view)


def test_policies_are_kept_for_few_versions_and_loaded_again() -> None:
    world = make_world()
    _, bundle = agreed(world)
    view = world.view()
    for version in range(20):
        view.shelf.policy(world.lab.publish(policy={"main": POLICY.replace("2h", f"{version + 1}h")}).history.states[0])
    for version in range(20):
        world.lab = world.lab.publish(policy={"main": POLICY})
        view.shelf.policy(world.lab.state)
    assert verify(world, bundle, view)


def test_a_denial_names_every_reason() -> None:
    world = make_world()
    asked = world.ask(world.request(duration_s=7300, not_after=NOW + 9000))
    with pytest.raises(Refused) as caught:
        verify(world, world.bundle(asked))
    assert [code for code, _ in caught.value.reasons] == ["duration-too-long", "quorum-not-met"]


def test_no_policy_at_all_agrees_to_nothing() -> None:
    world = make_world()
    asked, bundle = agreed(world)
    with pytest.raises(Refused, match="policy-empty"):
        checks.agree(checks.parse_bundle(bundle), (), {}, (), NO_FACTS, world.lab.state, now=NOW)
