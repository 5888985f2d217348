"""Security keys without a browser: Yubico's client talks CTAP 2.1 to a key in software, and gates in production believe it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import pytest
from fido2.ctap2.base import Ctap2
from playwright.sync_api import Browser

from keyturn.adapters.keys.pin import Pin
from keyturn.adapters.keys.webauthn_enrolment import WebauthnEnrolment
from keyturn.adapters.security_key.signing import SecurityKeySigner, register
from keyturn.crypto.credentials import Credential
from keyturn.crypto.dsse_signing import sign, verify_user_verified
from keyturn.crypto.keys import PublicKey
from keyturn.errors import KeyturnError, Malformed, Refused
from keyturn.formats import dsse, webauthn
from keyturn.formats.enrolled_key import EnrolledKey
from keyturn.formats.enrolment import Invitation, render_invitation
from keyturn.grants.verify_grant import verify_grant
from keyturn.policy.facts import NO_FACTS
from keyturn.trust.roster import SigningPage
from support.authenticators import Passkey
from support.labs import make_key
from support.security_key import PIN, Plugged, SecurityKey
from support.world import make_production

LAB = "acme.example"
TERMINAL = f"keyturn:{LAB}"
MESSAGE = dsse.pae(dsse.IN_TOTO, b'{"a":1}')
INVITATION = render_invitation(Invitation(lab=LAB, nonce="00" * 16, member="bob", kind="human", until=2_000_000_000))


@dataclass
class Holder:
    """Who has `keys` plugged in, and types `pin`; what the roster lists of the one that was enrolled."""

    keys: Sequence[SecurityKey]
    pin: str = PIN
    asked: int = 0
    listed: Credential | None = None

    def devices(self) -> tuple[Plugged, ...]:
        return tuple(Plugged(key) for key in self.keys)

    def ask(self) -> Pin:
        self.asked += 1
        return Pin(self.pin)

    def enrol(self) -> Credential:
        registration = register(INVITATION, devices=self.devices, pin=self.ask)
        origins = frozenset({TERMINAL})
        key = WebauthnEnrolment().prove(registration, invitation=INVITATION, rp_id=TERMINAL, origins=origins)
        self.listed = Credential.of(key, origins=origins)
        return self.listed

    @property
    def credential(self) -> Credential:
        assert self.listed is not None
        return self.listed

    @property
    def public(self) -> PublicKey:
        return self.credential.key

    def sign_record(self, message: bytes) -> bytes:
        return SecurityKeySigner(self.credential, devices=self.devices, pin=self.ask).sign_record(message)


def refused(holder: Holder) -> KeyturnError:
    with pytest.raises(KeyturnError) as caught:
        holder.sign_record(MESSAGE)
    return caught.value


@pytest.mark.parametrize("algorithm", [pytest.param(-7, id="P-256"), pytest.param(-8, id="Ed25519")])
def test_a_security_key_approves_in_production_without_a_browser(algorithm: int) -> None:
    holder = Holder([SecurityKey(algorithm=algorithm)])
    assert holder.enrol().kind == "fido2"
    world = make_production(
        holder,
        Passkey(make_key("cat's key")),
        Passkey(make_key("eve's key")),
        more_pages=(SigningPage(TERMINAL, TERMINAL, None),),
    )
    asked = world.ask()
    bundle = world.bundle(asked, world.approve(asked, "bob"), world.approve(asked, "eve"))
    grant = verify_grant(
        bundle, world.view(), now=world.now, gate=world.gate, session_key=world.session.public, facts=NO_FACTS
    )
    assert (sorted(grant.granted.approvers), grant.granted.profile) == (["bob", "eve"], "production")


def test_pin_and_touch_are_asked_for_each_signature(capsys: pytest.CaptureFixture[str]) -> None:
    key = SecurityKey()
    holder = Holder([key])
    holder.enrol()
    assert (holder.asked, key.touches) == (1, 1)
    for _ in range(2):
        verify_user_verified(sign(b'{"a":1}', holder), holder.credential)
    assert (holder.asked, key.touches) == (3, 3)
    out, err = capsys.readouterr()
    assert err.count("touch your security key") == 3
    assert out == ""
    assert PIN not in err


def test_a_key_that_was_only_touched_signs_and_approves_nothing() -> None:
    key = SecurityKey()
    holder = Holder([key])
    holder.enrol()
    key.says_verified = False
    assert refused(holder).code == "signature-user-unverified"


def test_a_key_that_does_not_verify_its_user_is_not_enrolled() -> None:
    with pytest.raises(Refused) as caught:
        Holder([SecurityKey(pin=None)]).enrol()
    assert caught.value.code == "fido2-user-unverified"
    assert "fido2-token -S" in caught.value.hint
    with pytest.raises(Refused) as caught:
        Holder([SecurityKey(says_verified=False)]).enrol()
    assert caught.value.code == "registration-invalid"


def test_a_wrong_pin_is_refused_is_shown_nowhere_and_locks_in_the_end() -> None:
    key = SecurityKey()
    holder = Holder([key])
    holder.enrol()
    holder.pin = "000000"
    for _ in range(7):
        error = refused(holder)
        assert error.code == "fido2-pin-wrong"
        assert holder.pin not in f"{error} {error.hint} {error.detail} {error.__cause__!r}"
    assert refused(holder).code == "fido2-pin-locked"
    holder.pin = PIN
    assert refused(holder).code == "fido2-pin-locked"
    assert key.touches == 1


def test_a_key_that_nobody_touches_is_unavailable() -> None:
    key = SecurityKey()
    holder = Holder([key])
    holder.enrol()
    key.touched = False
    assert refused(holder).code == "fido2-timeout"


def test_no_key_and_another_key_are_told_apart() -> None:
    holder = Holder([SecurityKey()])
    holder.enrol()
    holder.keys = [SecurityKey()]
    assert refused(holder).code == "fido2-key-absent"
    holder.keys = []
    assert refused(holder).code == "fido2-none"


def test_of_several_keys_the_one_that_was_enrolled_signs_and_no_other_gets_the_pin() -> None:
    meant, other = SecurityKey(), SecurityKey()
    holder = Holder([meant])
    holder.enrol()
    holder.keys = [other, meant]
    holder.sign_record(MESSAGE)
    assert (other.touches, other.pins_asked) == (0, 0)
    holder.keys = [other, SecurityKey()]
    assert refused(holder).code == "fido2-key-absent"
    assert (other.touches, other.pins_asked) == (0, 0)


def test_of_several_keys_the_one_that_is_touched_is_enrolled(capsys: pytest.CaptureFixture[str]) -> None:
    touched, other = SecurityKey(), SecurityKey(touched=False)
    holder = Holder([other, touched])
    holder.enrol()
    assert (len(touched.held), len(other.held), other.pins_asked) == (1, 0, 0)
    assert "2 security keys are plugged in" in capsys.readouterr().err
    holder.keys = [other, SecurityKey(touched=False)]
    with pytest.raises(KeyturnError) as caught:
        holder.enrol()
    assert caught.value.code == "fido2-timeout"


def test_a_device_that_answers_nonsense_is_unavailable() -> None:
    class Broken(SecurityKey):
        def answer(self, message: bytes, **more: object) -> bytes:
            return b"\0\xff" if message[0] == Ctap2.CMD.GET_ASSERTION else super().answer(message, **more)

    holder = Holder([SecurityKey()])
    holder.enrol()
    holder.keys = [Broken()]
    assert refused(holder).code == "fido2-failed"
    holder.keys = [Broken(), Broken()]
    assert refused(holder).code == "fido2-key-absent"


def test_a_key_of_a_terminal_and_one_of_a_page_are_never_taken_for_each_other() -> None:
    holder = Holder([SecurityKey()])
    listed = holder.enrol()
    signature = holder.sign_record(MESSAGE)
    page = EnrolledKey(kind="webauthn", public=listed.key.text, credential=listed.id, rp_id="localhost")
    with pytest.raises(Refused):
        Credential.of(page, origins=frozenset({"http://localhost:8722"})).verify(signature, MESSAGE, user_verified=True)
    for kind, rp_id in (("webauthn", TERMINAL), ("fido2", "localhost")):
        mixed = EnrolledKey(kind=kind, public=listed.key.text, credential=listed.id, rp_id=rp_id)
        with pytest.raises(Malformed) as caught:
            Credential.of(mixed, origins=frozenset({rp_id}))
        assert caught.value.code == "key-passkey"


def test_an_assertion_is_for_one_record_whatever_the_counter_says() -> None:
    """Whoever has seen an approval by a security key puts its assertion below another one: the challenge is its digest."""
    holder = Holder([SecurityKey()])
    holder.enrol()
    world = make_production(
        holder,
        Passkey(make_key("cat's key")),
        Passkey(make_key("eve's key")),
        more_pages=(SigningPage(TERMINAL, TERMINAL, None),),
    )
    agreed, other = world.ask(), world.ask()
    seen = world.approve(agreed, "bob")
    wanted = world.approve(other, "bob")
    verify_user_verified(seen, holder.credential)
    replayed = msgspec.structs.replace(wanted, signatures=seen.signatures)
    for again in (replayed, replayed):  # and no counter that went on, or did not, makes it another answer
        with pytest.raises(Refused) as caught:
            verify_user_verified(again, holder.credential)
        assert caught.value.code == "webauthn-challenge"
    # Taken apart: the client data of the one with the authenticator's data and signature of the other.
    one, two = (webauthn.parse(envelope.signatures[0].sig) for envelope in (seen, wanted))
    spliced = webauthn.render(webauthn.Assertion(one.authenticator_data, two.client_data, one.signature))
    with pytest.raises(Refused) as caught:
        holder.credential.verify(spliced, dsse.pae(wanted.payload_type, wanted.payload), user_verified=True)
    assert caught.value.code == "signature-invalid"


def test_a_key_of_another_labs_terminal_signs_nothing_here() -> None:
    holder = Holder([SecurityKey()])
    listed = holder.enrol()
    other = EnrolledKey(kind="fido2", public=listed.key.text, credential=listed.id, rp_id="keyturn:b.example")
    signature = holder.sign_record(MESSAGE)
    with pytest.raises(Refused) as caught:
        Credential.of(other, origins=frozenset({"keyturn:b.example"})).verify(signature, MESSAGE, user_verified=True)
    assert caught.value.code == "webauthn-origin"


@pytest.mark.xdist_group("chromium")
def test_no_page_in_a_browser_gets_an_assertion_from_a_terminals_key(chromium: Browser) -> None:
    page = chromium.new_context().new_page()
    page.route("**/*", lambda route: route.fulfill(body="<p>", content_type="text/html"))
    page.goto("http://localhost:8722/")
    asked = """([rpId]) => navigator.credentials.get({publicKey: {challenge: new Uint8Array(32), rpId}})
        .then(() => "signed", (error) => error.name)"""
    assert page.evaluate(asked, [TERMINAL]) == "SecurityError"
