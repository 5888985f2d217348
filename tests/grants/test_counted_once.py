"""What is there twice counts once: a person with two keys, approvals at one instant, revocations at one instant."""

from __future__ import annotations

from dataclasses import replace

import pytest

from keyturn.app.access.show_grants import list_grants
from keyturn.crypto.credentials import Credential
from keyturn.crypto.keys import PublicKey
from keyturn.errors import Refused
from keyturn.grants import withdrawing
from keyturn.grants.bundle import Bundle
from keyturn.grants.verify_grant import VerifiedGrant, verify_grant
from keyturn.policy.facts import NO_FACTS
from support.labs import NOW, make_key
from support.world import World, make_world


def verify(world: World, bundle: Bundle, *, session: PublicKey | None) -> VerifiedGrant:
    return verify_grant(bundle, world.view(), now=NOW, gate=world.gate, session_key=session, facts=NO_FACTS)


def test_one_person_with_two_keys_counts_once() -> None:
    world = make_world()
    second, roster = make_key("bob's second key"), world.lab.state.roster
    bob = roster.members["bob"]
    keys = (*bob.keys, Credential(key=second.public, kind="software"))
    world.publish(roster=replace(roster, members={**roster.members, "bob": replace(bob, keys=keys)}))
    asked = world.ask(world.release())
    first = world.approve(asked, "bob")
    world.held["bob"] = second
    for again in (world.approve(asked, "bob"), world.approve(asked, "bob", signed_at=NOW - 5)):
        assert again.signatures[0].keyid == second.public.keyid
        for shown in ((first, again), (again, first), (first,)):
            with pytest.raises(Refused, match="quorum-not-met"):
                verify(world, world.bundle(asked, *shown), session=None)


def test_approvals_at_one_instant_are_one_grant_and_revocations_at_one_instant_one_end() -> None:
    world = make_world()
    asked = world.ask()
    agreeing = [world.approve(asked, member) for member in ("bob", "cat", "eve")]
    opened = [
        verify(world, world.bundle(asked, *order), session=world.session.public).granted
        for order in (agreeing, agreeing[::-1])
    ]
    assert replace(opened[0], log_size=0) == replace(opened[1], log_size=0)  # each look adds a check-in
    assert opened[0].window.starts_at == NOW
    for member in ("ada", "bob", "cat"):
        world.revoke(asked, member)
    with pytest.raises(Refused, match="request-revoked"):
        verify(world, world.bundle(asked, *agreeing), session=world.session.public)
    known = world.view().known
    assert len(list(withdrawing.ending(known, asked.record_digest, world.request(), now=NOW))) == 3
    assert [live.state for live in list_grants(world.view(), world.lab.state, now=NOW)] == ["revoked"]
