"""Who may watch a session: another human, whom the request wants, by a statement of his own key."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from keyturn.crypto import dsse_signing
from keyturn.errors import KeyturnError, Malformed
from keyturn.formats import base64_text, dsse, statement
from keyturn.formats.access import AccessRequest
from keyturn.formats.session_terms import BastionTerms, SessionTerms, bastion_words, host_key_words
from keyturn.formats.statement import DigestSet, Subject
from keyturn.formats.watch import WATCH, Watch, parse
from keyturn.grants.watching import SIGNED_WITHIN_S, verify_watch
from support.labs import make_key
from support.world import World, make_world

POLICY = """
@id("shell") @quorum("1 security") @duration_max("2h") @pending_max("8h")
permit (principal in Group::"research", action == Action::"host:shell", resource == Host::"gpu1")
  when { context.request.watched };
"""
PERSON, HOP, EYES = (make_key(name) for name in ("a person's session", "a bastion's hop", "a watcher's session"))


def watched_world() -> World:
    gates = (("gpu1", "host"), ("front", "bastion"), ("back", "bastion"))
    return make_world(resources={"host/gpu1": ()}, gates=gates, policy={"main": POLICY})


def request(world: World, watcher: str | None, requester: str = "ada", *, bastion: bool = True) -> AccessRequest:
    gate = str(world.lab.gate_uri("front"))
    words = bastion_words(gate=gate, session_key=PERSON.public.text, key=HOP.public.text)
    proof = base64_text.encode(world.lab.gate_keys["front"].sign(words))
    terms = BastionTerms(gate=gate, key=HOP.public.text, proof=proof) if bastion else None
    return world.request(
        requester,
        action="host:shell",
        resource="keyturn://acme.example/host/gpu1",
        permit="shell",
        gate=str(world.lab.gate_uri("gpu1")),
        session_key=PERSON.public.text,
        session=SessionTerms(bastion=terms, watcher=watcher, sftp=True),
    )


def watch(
    world: World, asked: str, member: str = "bob", *, by: str = "", subject: str = "", **changed: object
) -> bytes:
    values: dict[str, object] = {
        "lab": world.lab.name,
        "nonce": world.nonce(),
        "member": member,
        "key": world.key(member).public.keyid,
        "request": asked,
        "gate": str(world.lab.gate_uri("front")),
        "session_key": EYES.public.text,
        "signed_at": world.now,
        **changed,
    }
    payload = statement.make(Watch(**values), WATCH, (Subject(digest=DigestSet(sha256=subject or asked)),))  # type: ignore[arg-type]
    return dsse.render(dsse_signing.sign(payload, world.key(by or member)))


def verified(world: World, raw: bytes, *, gate: str = "front", begins: bool = True) -> str:
    view = world.view(gate=gate)
    return verify_watch(raw, view, now=world.now, gate=world.lab.gate_uri(gate), begins=begins)[0].member


@pytest.mark.parametrize("who", ["group:security", "member:bob"])
def test_whom_the_request_wants_may_watch_and_goes_on_while_the_request_lives(who: str) -> None:
    world = watched_world()
    raw = watch(world, world.ask(request(world, who)).record_digest)
    assert verified(world, raw) == "bob"
    world.now += SIGNED_WITHIN_S + 1
    assert verified(world, raw, begins=False) == "bob"
    with pytest.raises(KeyturnError, match="expected 300 s ago"):
        verified(world, raw)


@pytest.mark.parametrize(
    ("code", "made"),
    [
        pytest.param("gate-other", lambda w, a: watch(w, a, gate=str(w.lab.gate_uri("back"))), id="at another bastion"),
        pytest.param("gate-other", lambda w, a: watch(w, a, lab="other.example"), id="of another lab"),
        pytest.param(
            "watch-old", lambda w, a: watch(w, a, signed_at=w.now - SIGNED_WITHIN_S - 1), id="signed long ago"
        ),
        pytest.param("watch-old", lambda w, a: watch(w, a, signed_at=w.now + 3600), id="signed in the future"),
        pytest.param("request-unread", lambda w, a: watch(w, "ab" * 32), id="of a request that is none"),
        pytest.param("approver-unknown", lambda w, a: watch(w, a, "mallory"), id="by nobody of the lab"),
        pytest.param(
            "signature-invalid", lambda w, a: watch(w, a, by="ada", key=w.key("bob").public.keyid), id="forged"
        ),
        pytest.param("signature-key", lambda w, a: watch(w, a, by="ada"), id="by another's key"),
        pytest.param("watcher-concerned", lambda w, a: watch(w, a, "ada"), id="by who comes in himself"),
        pytest.param("watcher-other", lambda w, a: watch(w, a, "eve"), id="by somebody of no such group"),
        pytest.param("watch-subject", lambda w, a: watch(w, a, subject="ab" * 32), id="about something else"),
    ],
)
def test_nobody_else_watches(code: str, made: Callable[[World, str], bytes]) -> None:
    world = watched_world()
    asked = world.ask(request(world, "group:security")).record_digest
    with pytest.raises(KeyturnError) as refused:
        raw = made(world, asked)
        if code == "signature-invalid":
            raw = _as_if_by(raw, world.key("bob").public.keyid)
        verified(world, raw)
    assert refused.value.code == code


def _as_if_by(raw: bytes, keyid: str) -> bytes:
    envelope = dsse.parse_own(raw)
    signature = dsse.Signature(keyid=keyid, sig=envelope.signatures[0].sig)
    return dsse.render(
        dsse.Envelope(payload_type=envelope.payload_type, payload=envelope.payload, signatures=(signature,))
    )


def test_a_suspended_watcher_and_a_request_that_nobody_watches_and_a_closed_bastion_are_refused() -> None:
    world = watched_world()
    raw = watch(world, world.ask(request(world, "group:security")).record_digest)
    world.suspend("cat", target_member="bob")
    with pytest.raises(KeyturnError, match="watcher `bob` is suspended"):
        verified(world, raw)
    for made in (request(world, None), request(world, None, bastion=False)):
        with pytest.raises(KeyturnError, match="asks for no watcher"):
            verified(world, watch(world, world.ask(made).record_digest, "cat"))
    world.suspend("cat", target_gate=str(world.lab.gate_uri("front")))
    with pytest.raises(KeyturnError, match="closed this gate"):
        verified(world, raw)


def test_a_watch_is_made_for_a_gate_with_a_key() -> None:
    world = watched_world()
    for changed in ({"gate": "keyturn://acme.example/host/gpu1"}, {"session_key": ""}, {"session_key": "A" * 401}):
        with pytest.raises((ValueError, Malformed)):
            watch(world, "ab" * 32, **changed)
    with pytest.raises(Malformed):
        parse(b"{}")


def test_a_watcher_is_of_a_session_through_a_bastion() -> None:
    with pytest.raises(ValueError, match="with a bastion alone"):
        SessionTerms(watcher="group:security")


def test_what_a_bastion_signs_of_its_own_key_is_of_that_gate_and_key() -> None:
    assert host_key_words(gate="g", host_key="k") == b"keyturn.dev/bastion-host-key/v1\ng\nk\n"
