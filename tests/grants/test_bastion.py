"""A request through a bastion: two doors, a key for each, and nobody in between."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from keyturn.app.gates.tell_gates import gates_concerned
from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import Malformed, Refused, Unavailable
from keyturn.formats import base64_text, dsse
from keyturn.formats.access import AccessRequest
from keyturn.formats.session_terms import BastionTerms, SessionTerms, bastion_words
from keyturn.formats.uri import Uri
from keyturn.grants.bastion import bastion_gate_of
from keyturn.grants.pushed import verify_pushed
from keyturn.grants.verify_grant import VerifiedGrant, verify_grant
from keyturn.policy.facts import NO_FACTS
from support.labs import make_key
from support.world import World, make_world

POLICY = """
@id("shell") @quorum("1 security") @duration_max("2h") @pending_max("8h")
permit (principal in Group::"research", action == Action::"host:shell", resource == Host::"gpu1")
  when { context.request.recorded };
"""
HOST = "keyturn://acme.example/host/gpu1"
PERSON, HOP, OTHER = (make_key(name) for name in ("a person's session", "a bastion's hop", "another"))


def world_with_bastion() -> World:
    gates = (("gpu1", "host"), ("gpu2", "host"), ("front", "bastion"), ("back", "bastion"))
    return make_world(resources={"host/gpu1": ()}, gates=gates, policy={"main": POLICY})


def terms(
    world: World, *, name: str = "front", by: str | None = None, words: Callable[[bytes], bytes] = bytes
) -> SessionTerms:
    gate = str(world.lab.gate_uri(name))
    said = bastion_words(gate=gate, session_key=PERSON.public.text, key=HOP.public.text)
    proof = base64_text.encode(world.lab.gate_keys[by or name].sign(words(said)))
    return SessionTerms(bastion=BastionTerms(gate=gate, key=HOP.public.text, proof=proof))


def requested(world: World, session: SessionTerms | None, **changed: object) -> AccessRequest:
    return world.request(
        **{
            "action": "host:shell",
            "resource": HOST,
            "permit": "shell",
            "gate": str(world.lab.gate_uri("gpu1")),
            "session_key": PERSON.public.text,
            "session": session,
            **changed,
        }
    )


def at(world: World, made: AccessRequest, gate: str, proves: SoftwareKey, *, close: str = "") -> VerifiedGrant:
    asked = world.ask(made)
    bundle = world.bundle(asked, world.approve(asked, "bob"))
    if close:
        world.suspend("bob", target_gate=str(world.lab.gate_uri(close)))
    found: Uri = world.lab.gate_uri(gate)
    return verify_grant(
        bundle, world.view(gate=gate), now=world.now, gate=found, session_key=proves.public, facts=NO_FACTS
    )


def test_the_person_opens_the_bastion_and_the_bastion_opens_the_host() -> None:
    world = world_with_bastion()
    assert at(world, requested(world, terms(world)), "front", PERSON).gate == world.lab.gate_uri("front")
    assert at(world, requested(world, terms(world)), "gpu1", HOP).gate == world.lab.gate_uri("gpu1")


@pytest.mark.parametrize(
    ("gate", "proves", "code"),
    [
        pytest.param("gpu1", PERSON, "session-key-other", id="the person at the host, past the bastion"),
        pytest.param("gpu1", OTHER, "session-key-other", id="another key at the host"),
        pytest.param("front", HOP, "session-key-other", id="the bastion's key at the bastion"),
        pytest.param("back", PERSON, "gate-other", id="another bastion"),
        pytest.param("gpu2", PERSON, "gate-other", id="another host"),
        pytest.param("gpu2", HOP, "gate-other", id="the bastion at another host"),
    ],
)
def test_each_door_opens_to_its_own_key_alone(gate: str, proves: SoftwareKey, code: str) -> None:
    world = world_with_bastion()
    with pytest.raises(Refused) as refused:
        at(world, requested(world, terms(world)), gate, proves)
    assert refused.value.code == code


@pytest.mark.parametrize("gate", ["front", "gpu1"])
@pytest.mark.parametrize(
    ("made", "code"),
    [
        pytest.param(lambda w: terms(w, name="gpu2"), "bastion-unknown", id="a host's gate as the bastion"),
        pytest.param(lambda w: terms(w, by="back"), "signature-invalid", id="another bastion's word for the key"),
        pytest.param(
            lambda w: terms(w, words=lambda said: said.replace(b"/front", b"/back")),
            "signature-invalid",
            id="for another bastion",
        ),
        pytest.param(
            lambda w: terms(
                w, words=lambda said: said.replace(PERSON.public.text.encode(), OTHER.public.text.encode())
            ),
            "signature-invalid",
            id="for another person's session",
        ),
        pytest.param(
            lambda w: terms(w, words=lambda said: said.replace(HOP.public.text.encode(), OTHER.public.text.encode())),
            "signature-invalid",
            id="for another key",
        ),
    ],
)
def test_what_is_no_bastion_of_the_lab_or_not_its_key_opens_neither_door(
    gate: str, made: Callable[[World], SessionTerms], code: str
) -> None:
    world = world_with_bastion()
    with pytest.raises(Refused) as refused:
        at(world, requested(world, made(world)), gate, HOP if gate == "gpu1" else PERSON)
    # A host's gate in the bastion's place must not open to the person, and is not asked for either.
    assert refused.value.code == code


def test_a_hosts_gate_that_is_named_as_the_bastion_opens_to_nobody() -> None:
    world = world_with_bastion()
    for proves in (PERSON, HOP):
        with pytest.raises(Refused, match="no gate of kind `bastion`"):
            at(world, requested(world, terms(world, name="gpu2")), "gpu2", proves)


def test_a_bastion_that_is_closed_or_may_be_opens_no_host() -> None:
    world = world_with_bastion()
    with pytest.raises(Refused) as refused:
        at(world, requested(world, terms(world)), "gpu1", HOP, close="front")
    assert refused.value.code == "bastion-closed"
    world = world_with_bastion()
    world.hide("sus", f"gate:{world.lab.gate_uri('front')}", until=world.now + 600)
    with pytest.raises((Refused, Unavailable)):
        at(world, requested(world, terms(world)), "gpu1", HOP)


def test_the_bastion_hears_of_the_end_of_a_request_as_the_host_does() -> None:
    world = world_with_bastion()
    asked = world.ask(requested(world, terms(world)))
    world.approve(asked, "bob")
    revocation = world.revoke(asked, "bob", submit=False)
    raw = dsse.render(revocation)
    view = world.view(gate="front")
    trust = world.lab.history.newest
    assert gates_concerned(raw, trust, view.known) == tuple(str(world.lab.gate_uri(name)) for name in ("front", "gpu1"))
    for gate in ("front", "gpu1"):
        assert verify_pushed(raw, world.view(gate=gate), now=world.now).request == asked.record_digest
    for gate in ("back", "gpu2"):
        with pytest.raises(Refused) as refused:
            verify_pushed(raw, world.view(gate=gate), now=world.now)
        assert refused.value.code == "gate-other"
    assert bastion_gate_of(None) is None


def test_a_policy_can_demand_that_a_session_is_recorded() -> None:
    world = world_with_bastion()
    with pytest.raises(Refused, match="no permit applies"):
        at(world, requested(world, None), "gpu1", PERSON)


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"session_key": None}, id="without a session key"),
        pytest.param({"session_key": HOP.public.text}, id="whose session key is the bastion's"),
        pytest.param({"gate": "keyturn://acme.example/gate/front"}, id="for the bastion itself"),
        pytest.param({"break_glass_at": 1}, id="by break-glass"),
    ],
)
def test_a_request_is_not_made_through_a_bastion(changed: dict[str, object]) -> None:
    world = world_with_bastion()
    if "break_glass_at" in changed:
        changed = {"break_glass_at": world.now, "not_after": world.now + 3600, "start_by": world.now + 60}
    made = requested(world, terms(world))
    values = {name: getattr(made, name) for name in made.__struct_fields__} | changed
    with pytest.raises(ValueError, match="expected"):
        AccessRequest(**values)


def test_a_bastion_is_a_gate() -> None:
    with pytest.raises((ValueError, Malformed)):
        BastionTerms(gate=HOST, key="AAAA", proof="AAAA")
