"""Asking and agreeing through the use cases, in a made world: what a person would draft, log and say."""

from __future__ import annotations

from keyturn.app.access import authorize, request_access
from keyturn.app.access.request_access import Wish
from keyturn.app.access.take_away import Hand
from keyturn.app.log.follow_log import follow_log
from keyturn.formats.access import AccessRequest
from keyturn.formats.uri import Uri
from keyturn.grants.view import GateView
from support.world import POLICY, Witnessed, World

__all__ = ["ONLY_RELEASES", "asked", "draft", "hand", "say", "view_of", "wish"]

ONLY_RELEASES = POLICY[POLICY.index('@id("release")') :]


def hand(world: World, member: str) -> Hand:
    return Hand(member, world.key(member), world.log, world.clock, world.clock)


def wish(world: World, **changed: object) -> Wish:
    values: dict[str, object] = {
        "requester": "ada",
        "beneficiary": None,
        "action": "weights:read",
        "resource": Uri("acme.example", "model", "aurora"),
        "gate": world.gate,
        "permit": None,
        "justification": "a look at the loss",
        "ticket": "",
        "duration_s": None,
        "not_before": None,
        "pending_s": None,
        "session_key": world.session.public.text,
        "bytes_max": None,
        "follows": None,
        **changed,
    }
    return Wish(**values)  # type: ignore[arg-type]  # the table above, field by field


def draft(world: World, **changed: object) -> AccessRequest:
    policy = world.view().shelf.policy(world.lab.state)
    key = world.key(str(changed.get("requester", "ada"))).public.keyid
    return request_access.draft_request(
        wish(world, **changed), policy, keyid=key, clock=world.clock, entropy=world.clock
    )


def view_of(world: World) -> GateView:
    return follow_log(world.start(None), Witnessed(world), now=world.now)


def asked(world: World, **changed: object) -> authorize.Pending:
    made = draft(world, **changed)
    logged = request_access.request_access(
        made, subjects=request_access.of_resource(made), key=world.key(made.requester), log=world.log
    )
    return authorize.find_pending(view_of(world), logged.id)


def say(world: World, pending: authorize.Pending, member: str, decision: str = "approve") -> str:
    done = authorize.authorize(
        pending,
        "approve" if decision == "approve" else "deny",
        member=member,
        reason="no" if decision == "deny" else "",
        key=world.key(member),
        log=world.log,
        clock=world.clock,
        entropy=world.clock,
    )
    return done.id
