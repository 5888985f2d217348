"""Approvals in production: keys that verify their user open, and nothing else does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from keyturn.errors import Refused
from keyturn.grants.bundle import Bundle
from keyturn.grants.verify_grant import VerifiedGrant, verify_grant
from keyturn.policy.facts import NO_FACTS
from keyturn.trust.roster import SigningPage
from support.authenticators import Passkey, SshHolder
from support.labs import make_key
from support.world import POLICY, World, make_production, make_world

BOB, EVE = make_key("bob's key"), make_key("eve's key")
PASSKEY, SECURITY_KEY = Passkey(BOB), SshHolder(EVE, "ssh:")


def opened(world: World, bundle: Bundle) -> VerifiedGrant:
    return verify_grant(
        bundle, world.view(), now=world.now, gate=world.gate, session_key=world.session.public, facts=NO_FACTS
    )


def agreed(world: World) -> Bundle:
    asked = world.ask()
    return world.bundle(asked, world.approve(asked, "bob"), world.approve(asked, "eve"))


def lab(bob: Passkey | SshHolder, eve: Passkey | SshHolder, **more: object) -> World:
    return make_production(bob, SshHolder(make_key("cat's key"), "ssh:"), eve, **more)


@pytest.mark.parametrize(
    ("bob", "eve"),
    [
        pytest.param(PASSKEY, SECURITY_KEY, id="a passkey and an SSH security key"),
        pytest.param(PASSKEY, Passkey(EVE, synced=True, flags=0x1D), id="two passkeys, one of them synced"),
    ],
)
def test_two_people_whose_keys_verified_them_open_in_production(
    bob: Passkey | SshHolder, eve: Passkey | SshHolder
) -> None:
    world = lab(bob, eve)
    grant = opened(world, agreed(world))
    assert (grant.granted.approvers, grant.granted.profile) == (("eve", "bob"), "production")


@pytest.mark.parametrize(
    ("bob", "code"),
    [
        pytest.param(
            replace(PASSKEY, flags=0x01), "signature-user-unverified", id="a passkey touched by nobody knows whom"
        ),
        pytest.param(SshHolder(BOB, "ssh:", flags=0x01), "signature-user-unverified", id="a security key only touched"),
        pytest.param(SshHolder(BOB), "approver-key-software", id="a plain SSH key"),
        pytest.param(replace(PASSKEY, origin="https://service.example"), "webauthn-origin", id="a page of the service"),
        pytest.param(replace(PASSKEY, purpose="enrolment"), "webauthn-challenge", id="signed for something else"),
    ],
)
def test_an_approval_whose_key_did_not_verify_its_user_opens_nothing(bob: Passkey | SshHolder, code: str) -> None:
    world = lab(bob, SECURITY_KEY)
    with pytest.raises(Refused) as caught:
        opened(world, agreed(world))
    assert caught.value.code == code


def test_an_approval_that_does_not_count_is_not_a_persons_first_one() -> None:
    """Else whoever has a key for a touch could keep its owner from approving."""
    world = lab(replace(PASSKEY, flags=0x01), SECURITY_KEY)
    asked = world.ask()
    world.approve(asked, "bob")
    world.held["bob"] = PASSKEY
    bundle = world.bundle(asked, world.approve(asked, "bob"), world.approve(asked, "eve"))
    assert opened(world, bundle).granted.approvers == ("eve", "bob")


def test_a_security_key_that_was_only_touched_may_ask() -> None:
    world = lab(PASSKEY, SECURITY_KEY)
    world.held["ada"] = world.key("ada")
    assert opened(world, agreed(world))


@pytest.mark.parametrize(
    ("eve", "fact", "opens"),
    [
        pytest.param(SECURITY_KEY, "device_bound", True, id="all are bound to a device"),
        pytest.param(Passkey(EVE, synced=True, flags=0x1D), "device_bound", False, id="one is synced"),
        pytest.param(SECURITY_KEY, "attested", False, id="nobody's key is attested"),
    ],
)
def test_a_policy_may_ask_for_keys_that_are_bound_or_attested(eve: Passkey | SshHolder, fact: str, opens: bool) -> None:
    policy = POLICY.replace('Model::"aurora");', f'Model::"aurora") when {{ context.approval.{fact} }};', 1)
    world = lab(PASSKEY, eve, policy={"main": policy})
    bundle = agreed(world)
    if opens:
        assert opened(world, bundle)
        return
    with pytest.raises(Refused) as caught:
        opened(world, bundle)
    assert caught.value.code == "policy-not-permitted"


def test_the_logs_operator_serves_no_signing_page_in_production() -> None:
    """Whoever takes the service over would show people what he likes, and have them sign something else."""
    page = SigningPage("https://sign.acme.example", "acme.example", "op-service")
    with pytest.raises(Refused) as caught:
        make_world(profile="production", witnesses=("north", "south", "west"), pages=(page,))
    assert caught.value.code == "production-signing-operator"
