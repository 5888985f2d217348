"""Join with a passkey that a real browser makes: the roster lists what its registration proves, and nothing else is enrolled."""

from __future__ import annotations

import json
import os
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from playwright.sync_api import Page

from keyturn.adapters.clock import SystemClock, SystemEntropy
from keyturn.adapters.files.key_files import KeyFiles
from keyturn.adapters.files.trust_on_disk import TrustOnDisk
from keyturn.adapters.keys.webauthn_enrolment import WebauthnEnrolment
from keyturn.app.trust.accept_invitation import NewKey, accept_invitation
from keyturn.app.trust.enrol_member import enrol_member
from keyturn.app.trust.found_lab import Founding, found_lab
from keyturn.app.trust.invite_member import Offer, invite_members
from keyturn.cli.trust.trust import accept
from keyturn.config.person import home_of, parse
from keyturn.crypto import dsse_signing
from keyturn.crypto.credentials import Credential
from keyturn.errors import KeyturnError, Refused
from keyturn.formats import dsse
from keyturn.formats.enrolment import AcceptedKey, parse_acceptance, parse_invitation, render_invitation
from keyturn.trust.draft import Draft
from keyturn.wiring.keys.new_keys import new_key, new_passkey
from keyturn.wiring.keys.own_keys import PageView, own_signer
from keyturn.wiring.lab.places import Person

pytestmark = pytest.mark.xdist_group("chromium")


class Joining:
    """A lab whose signing page is at `origin`, and bob, who accepts with what `person`'s browser makes."""

    def __init__(self, directory: Path, person: Any, origin: str) -> None:
        self.store = TrustOnDisk(directory / "trust")
        self.person, self.origin, self.directory = person, origin, directory
        founding = Founding(
            lab="acme.example",
            profile="demo",
            founder="ada",
            founder_name="Ada",
            groups=(),
            witnesses=("north",),
            gates=("release",),
            builder=True,
        )
        own = self.keys("ada")
        found_lab(
            founding,
            store=self.store,
            member=lambda: Credential(own.create("member").public, "software"),
            trust=lambda: own.create("trust").public,
            lab_keys=self.keys("lab"),
        )
        draft = dict(self.store.draft())
        page = f'\n[[signing]]\norigin = "{origin}"\nrp_id = "localhost"\n'
        self.store.swap_draft(draft, {**draft, "roster.toml": draft["roster.toml"] + page.encode()})

    def keys(self, name: str) -> KeyFiles:
        return KeyFiles(lambda key: self.directory / name / key, passphrase=None)

    def invite(self, *, attested: bool = False) -> bytes:
        offer = Offer(member="bob", kind="human", signs_trust=False, attested=attested)
        (made,) = invite_members([offer], store=self.store, clock=SystemClock(), entropy=SystemEntropy())
        return made

    def make(self, raw: bytes, *, at: str | None = None) -> NewKey:
        return new_passkey(raw, origin=at or self.origin, open_page=self.person.open)

    def accept(self, raw: bytes, *own: NewKey) -> bytes:
        return accept_invitation(
            raw,
            name="Bob",
            own=lambda _: own,
            own_trust=lambda: self.keys("bob").create("trust"),
            clock=SystemClock(),
            entropy=SystemEntropy(),
        )

    def enrol(self, acceptance: bytes) -> None:
        enrol_member(acceptance, store=self.store, clock=SystemClock(), registrations=WebauthnEnrolment())

    def refused(self, acceptance: bytes) -> str:
        with pytest.raises(KeyturnError) as caught:
            self.enrol(acceptance)
        assert b"bob" not in self.store.draft()["roster.toml"]
        return caught.value.code


@pytest.fixture
def joining(tmp_path: Path, person: Any, origin: str) -> Joining:
    return Joining(tmp_path, person, origin)


@pytest.mark.parametrize(
    ("kind", "key", "lists"),
    [
        pytest.param("passkey", "passkey", "http://localhost:1", id="a page"),
        pytest.param("terminal", "fido2", "none", id="a terminal"),
    ],
)
def test_no_key_is_made_where_the_lab_lists_no_place_to_sign(
    joining: Joining, kind: str, key: str, lists: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webbrowser, "open", lambda url: pytest.fail(f"opened {url}"))
    raw = joining.invite()
    offered = parse_invitation(raw)
    assert offered.signing == (joining.origin,)
    raw = render_invitation(msgspec.structs.replace(offered, signing=(lists,) if lists != "none" else ()))
    with pytest.raises(Refused, match="signing-page-unlisted") as caught:
        new_key(key, keys=joining.keys("bob"), invitation=raw, page=joining.origin)
    assert lists in caught.value.message, kind


def test_a_member_joins_with_a_passkey_that_the_browser_made_for_the_invitation(joining: Joining) -> None:
    raw = joining.invite()
    acceptance = joining.accept(raw, joining.make(raw))
    assert len(joining.person.urls) == 2  # made, and used to sign the acceptance
    assert joining.person.buttons == ["Make my passkey", "Sign with my passkey"]
    joining.enrol(acceptance)
    (key,) = parse_acceptance(dsse.parse_own(acceptance).payload).member_keys
    roster = joining.store.draft()["roster.toml"]
    assert key.key.public.encode() in roster
    assert key.key.credential is not None
    assert key.key.credential.encode() in roster


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"synced": True}, id="synced, which it is not"),
        pytest.param({"attestation": "packed:" + "ee" * 16}, id="another model"),
    ],
)
def test_a_passkey_is_what_its_registration_proves(joining: Joining, changed: dict[str, object]) -> None:
    raw = joining.invite()
    made = joining.make(raw)
    key = msgspec.structs.replace(made.accepted.key, **changed)
    lying = NewKey(AcceptedKey(key=key, registration=made.accepted.registration), made.signer)
    expected = "webauthn-backup-changed" if "synced" in changed else "registration-other"
    assert joining.refused(joining.accept(raw, lying)) == expected


def test_another_keys_registration_proves_nothing(joining: Joining) -> None:
    raw = joining.invite()
    one, other = joining.make(raw), joining.make(raw)
    swapped = NewKey(AcceptedKey(key=one.accepted.key, registration=other.accepted.registration), one.signer)
    assert joining.refused(joining.accept(raw, swapped)) == "registration-other"


def test_a_registration_for_another_invitation_is_refused(joining: Joining) -> None:
    earlier, raw = joining.invite(), joining.invite()
    assert joining.refused(joining.accept(raw, joining.make(earlier))) == "webauthn-challenge"


def test_a_passkey_that_was_made_on_another_page_is_refused(joining: Joining) -> None:
    raw = joining.invite()
    port = int(joining.origin.rpartition(":")[2])
    other = f"http://localhost:{port + 1 if port < 65535 else port - 1}"
    assert joining.refused(joining.accept(raw, joining.make(raw, at=other))) == "webauthn-origin"


def test_whoever_is_asked_for_an_attested_passkey_gives_one(joining: Joining) -> None:
    raw = joining.invite(attested=True)
    made = joining.make(raw)
    joining.enrol(joining.accept(raw, made))
    assert made.accepted.key.attestation is not None
    assert made.accepted.key.attestation.startswith("packed:")
    assert made.accepted.key.attestation.encode() in joining.store.draft()["roster.toml"]


def asking(**changed: object) -> Callable[[Page], None]:
    """A page that asks its authenticator for something else than ours does."""
    script = f"""{{
        const create = navigator.credentials.create.bind(navigator.credentials);
        navigator.credentials.create = (options) => create({{publicKey: {{...options.publicKey, ...{json.dumps(changed)}}}}});
    }}"""
    return lambda page: page.add_init_script(script)


def test_a_passkey_of_which_nobody_attests_anything_is_no_attested_one(joining: Joining) -> None:
    joining.person.before = asking(attestation="none")
    raw = joining.invite(attested=True)
    made = joining.make(raw)
    assert made.accepted.key.attestation is None
    assert joining.refused(joining.accept(raw, made)) == "registration-unattested"
    again = joining.invite()
    joining.enrol(joining.accept(again, joining.make(again)))


def test_a_passkey_that_did_not_verify_its_user_when_it_was_made_is_refused(joining: Joining) -> None:
    joining.person.verifies = False
    joining.person.before = asking(authenticatorSelection={"userVerification": "discouraged"})
    with pytest.raises(Refused, match="registration-invalid"):
        joining.make(joining.invite())


def test_a_passkey_that_was_made_on_the_command_line_signs_there(
    joining: Joining, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`keyturn trust accept --member-key passkey`, and then what the person's config.toml lists signs a record."""
    monkeypatch.setenv("KEYTURN_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(webbrowser, "open", joining.person.open)
    (tmp_path / "bob.json").write_bytes(joining.invite())
    out = tmp_path / "acceptance.json"
    accept(tmp_path / "bob.json", member_key=["passkey"], page=joining.origin, out=out, json=True)
    joining.enrol(out.read_bytes())
    config = parse(home_of(os.environ).config.read_bytes())
    person = Person(home_of(os.environ), config)
    roster = Draft.parse(joining.store.draft()).contents.roster
    signer = own_signer(person, approving=True, named=None, view=PageView(roster, lambda digest: None))
    envelope = dsse_signing.sign(b'{"predicateType":"x"}', signer)
    (credential,) = roster.members["bob"].keys
    dsse_signing.verify_user_verified(envelope, credential)


def test_a_software_key_is_no_attested_passkey(joining: Joining) -> None:
    raw = joining.invite(attested=True)
    made = joining.keys("bob").create("member")
    own = NewKey(AcceptedKey(key=Credential(made.public, "software").enrolled), made)
    assert joining.refused(joining.accept(raw, own)) == "registration-unattested"


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\xa0", id="an empty map"),
        pytest.param(b"\x9b" + b"\xff" * 8, id="an endless array"),
    ],
)
def test_bytes_that_are_no_registration_are_refused(joining: Joining, broken: bytes) -> None:
    from keyturn.formats import base64_text

    raw = joining.invite()
    registration = joining.make(raw).accepted.registration
    assert registration is not None
    other = msgspec.structs.replace(registration, attestation_object=base64_text.encode(broken))
    with pytest.raises(Refused, match="registration-invalid"):
        WebauthnEnrolment().prove(other, invitation=raw, rp_id="localhost", origins=frozenset({joining.origin}))
