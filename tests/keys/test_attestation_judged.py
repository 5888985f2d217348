"""Attestations are held against the makers that a roster lists: what real keys say holds, what is counterfeit is refused."""

from __future__ import annotations

import tomllib
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fido2.webauthn import AttestationObject

from keyturn.adapters.keys.attestation import judge
from keyturn.adapters.keys.pin import Pin
from keyturn.adapters.keys.webauthn_enrolment import WebauthnEnrolment
from keyturn.adapters.security_key.signing import register
from keyturn.errors import Refused
from keyturn.formats import base64_text
from keyturn.formats.digest import sha256
from keyturn.formats.enrolment import Invitation, Registration, render_invitation
from keyturn.trust.attestation import Authenticator
from support.attesters import Attester, Maker
from support.security_key import AAGUID, PIN, Plugged, SecurityKey

TERMINAL = "keyturn:acme.example"
INVITATION = render_invitation(
    Invitation(lab="acme.example", nonce="00" * 16, member="bob", kind="human", until=2_000_000_000)
)
MAKER = Maker("Acme Keys")
OTHER = b"\x22" * 16
LISTED = {AAGUID.hex(): Authenticator(AAGUID.hex(), "Acme Key 1", (MAKER.root,))}
REAL = sorted(Path(__file__).with_name("attested").glob("*.toml"))


@dataclass(frozen=True)
class Real:
    """How a device of silicon attested a key of it."""

    authenticator: Authenticator
    attestation_object: bytes
    client_data: bytes

    @classmethod
    def read(cls, path: Path) -> Real:
        said = tomllib.loads(path.read_text())
        made = Authenticator(said["aaguid"], said["name"], (b64decode(said["root"]),))
        return cls(made, b64decode(said["attestation_object"]), b64decode(said["client_data"]))

    def judged(self, **more: Any) -> str:
        known = replace(self.authenticator, **more)
        return judge(self.attestation_object, self.client_data, {self.authenticator.aaguid: known})


def registration(attester: Attester | None, **more: Any) -> Registration:
    key = SecurityKey(attester=attester, **more)
    return register(INVITATION, devices=lambda: (Plugged(key),), pin=lambda: Pin(PIN))


def refused(code: Callable[[], object]) -> str:
    with pytest.raises(Refused) as caught:
        code()

    return caught.value.code


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_what_a_real_authenticator_says_holds_under_its_makers_root_and_no_other(path: Path) -> None:
    real = Real.read(path)
    assert real.judged() == sha256(real.authenticator.roots[0])
    assert real.judged(roots=(MAKER.root, *real.authenticator.roots)) == sha256(real.authenticator.roots[0])
    assert refused(lambda: real.judged(roots=(MAKER.root,))) == "attestation-untrusted"
    assert refused(lambda: real.judged(roots=(b"no certificate",))) == "attestation-untrusted"


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_a_real_attestation_of_another_key_is_none_of_this(path: Path) -> None:
    """The key, its id, the client data or the flags are another's."""
    real = Real.read(path)
    at = real.attestation_object.index(AttestationObject(real.attestation_object).auth_data)
    for place in (at + 37, at + 60, len(real.attestation_object) - 1):
        changed = bytearray(real.attestation_object)
        changed[place] ^= 1
        other = replace(real, attestation_object=bytes(changed))
        assert refused(other.judged) in ("attestation-invalid", "attestation-unlisted")
    assert refused(replace(real, client_data=real.client_data + b" ").judged) == "attestation-invalid"


def test_an_attested_key_is_carried_by_its_makers_root() -> None:
    made = registration(MAKER.attester(AAGUID))
    assert WebauthnEnrolment().judge(made, LISTED) == sha256(MAKER.root)
    without_model = registration(MAKER.attester())  # the certificate may leave the model to the signed data
    assert WebauthnEnrolment().judge(without_model, LISTED) == sha256(MAKER.root)


def test_a_maker_without_an_authority_is_listed_with_the_certificate_itself() -> None:
    attester = Maker("Small").attester(AAGUID)
    listed = {AAGUID.hex(): Authenticator(AAGUID.hex(), "Small 1", attester.chain)}
    assert WebauthnEnrolment().judge(registration(attester), listed) == sha256(attester.chain[0])


@pytest.mark.parametrize(
    ("attester", "more", "code"),
    [
        pytest.param(Maker("Acme Keys").attester(AAGUID), {}, "attestation-untrusted", id="a root of the same name"),
        pytest.param(None, {}, "attestation-invalid", id="by the key itself"),
        pytest.param(MAKER.attester(OTHER), {}, "attestation-invalid", id="a certificate of another model"),
        pytest.param(
            MAKER.attester(AAGUID), {"aaguid": OTHER}, "attestation-unlisted", id="a model that is not listed"
        ),
        pytest.param(MAKER.attester(AAGUID, ca=True), {}, "attestation-invalid", id="an authority's own certificate"),
        pytest.param(MAKER.attester(unit="Servers"), {}, "attestation-invalid", id="a certificate for something else"),
        pytest.param(
            MAKER.below(MAKER.attester(AAGUID), AAGUID), {}, "attestation-untrusted", id="made by a key's key"
        ),
        pytest.param(
            MAKER.attester(lives=timedelta(days=1)), {}, "attestation-untrusted", id="a certificate that is over"
        ),
    ],
)
def test_a_counterfeit_attestation_is_refused_by_name(attester: Attester | None, more: Any, code: str) -> None:
    made = registration(attester, **more)
    assert refused(lambda: WebauthnEnrolment().judge(made, LISTED)) == code


def test_an_attestation_that_was_made_for_another_key_proves_nothing() -> None:
    """One key's certificate and signature stand before another key."""
    attested, other = (registration(MAKER.attester(AAGUID)) for _ in range(2))
    objects = [AttestationObject(b64decode(made.attestation_object)) for made in (attested, other)]
    mixed = AttestationObject.create("packed", objects[1].auth_data, objects[0].att_stmt)
    made = Registration(attestation_object=base64_text.encode(bytes(mixed)), client_data=other.client_data)
    assert refused(lambda: WebauthnEnrolment().judge(made, LISTED)) == "attestation-invalid"
    proven = lambda: WebauthnEnrolment().prove(  # noqa: E731
        made, invitation=INVITATION, rp_id=TERMINAL, origins=frozenset({TERMINAL})
    )
    assert refused(proven) == "registration-invalid"


@pytest.mark.parametrize("raw", [b"", b"\xa0", b"\xff" * 40], ids=["nothing", "an empty map", "no CBOR"])
def test_bytes_that_are_no_attestation_are_refused(raw: bytes) -> None:
    assert refused(lambda: judge(raw, b"{}", LISTED)) == "attestation-invalid"
