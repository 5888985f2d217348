"""Keys of people: what each kind's signature must be, and every way in which it is refused by name."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.crypto import sshsig as ssh
from keyturn.crypto.credentials import Credential
from keyturn.crypto.dsse_signing import sign, verify_all, verify_one, verify_user_verified
from keyturn.crypto.keys import Scheme
from keyturn.crypto.signers import SoftwareKey
from keyturn.crypto.webauthn import RelyingParty
from keyturn.errors import KeyturnError, Malformed, Refused
from keyturn.formats import sshsig, webauthn
from keyturn.formats.dsse import Envelope, Signature, pae
from keyturn.formats.enrolled_key import EnrolledKey
from keyturn.formats.sshsig import SshSignature
from support.authenticators import ORIGIN, PARTY, Passkey, SshHolder
from support.labs import make_key

TERMINAL = RelyingParty("keyturn:acme.example", frozenset({"keyturn:acme.example"}))
ED, EC = make_key("a person"), SoftwareKey.generate("ecdsa-sha2-nistp256")
KEYS = [pytest.param(ED, id="Ed25519"), pytest.param(EC, id="P-256")]
MESSAGE = b"DSSEv1 28 application/vnd.in-toto+json 2 {}"
PAYLOAD = b"{}"


def refused(credential: Credential, signature: bytes, *, user_verified: bool = True) -> str:
    with pytest.raises((Refused, Malformed)) as caught:
        credential.verify(signature, MESSAGE, user_verified=user_verified)
    return caught.value.code


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("synced", [False, True])
def test_a_passkeys_signature_verifies_with_its_user(key: SoftwareKey, synced: bool) -> None:
    passkey = Passkey(key, synced=synced, flags=0x1D if synced else 0x05)
    envelope = sign(PAYLOAD, passkey)
    verify_one(envelope, passkey.credential)
    verify_user_verified(envelope, passkey.credential)
    verify_all(envelope, (passkey.credential,))
    assert passkey.credential.device_bound is not synced


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        pytest.param({"origin": "https://evil.example"}, "webauthn-origin", id="on another page"),
        pytest.param({"origin": "http://localhost:87"}, "webauthn-origin", id="on a page whose name begins ours"),
        pytest.param({"origin": "http://localhost:87220"}, "webauthn-origin", id="on a page whose name ours begins"),
        pytest.param({"rp_id": "evil.example"}, "webauthn-relying-party", id="for another site"),
        pytest.param({"cross_origin": "true"}, "webauthn-cross-origin", id="in another site's frame"),
        pytest.param({"cross_origin": "falsehood"}, "webauthn-cross-origin", id="a word that begins with false"),
        pytest.param(
            {"more_client_data": ',"topOrigin":"https://evil.example"'}, "webauthn-cross-origin", id="a frame's top"
        ),
        pytest.param({"purpose": "enrolment"}, "webauthn-challenge", id="signed for another purpose"),
        pytest.param({"type": "webauthn.create"}, "webauthn-challenge", id="made, not used"),
        pytest.param({"flags": 0x04}, "signature-untouched", id="untouched"),
        pytest.param({"flags": 0x01}, "signature-user-unverified", id="touched by nobody knows whom"),
        pytest.param({"flags": 0x0D}, "webauthn-backup-changed", id="a bound key that is synced now"),
        pytest.param({"flags": 0x15}, "webauthn-authenticator-data", id="backed up without being eligible"),
        pytest.param({"flags": 0x85}, "webauthn-authenticator-data", id="with extensions"),
        pytest.param({"flags": 0x45}, "webauthn-authenticator-data", id="with attested data"),
        pytest.param({"more_data": b"x"}, "webauthn-authenticator-data", id="with bytes after it"),
        pytest.param({"private": make_key("mallory")}, "signature-invalid", id="by another key"),
    ],
)
def test_a_passkey_used_otherwise_is_refused_by_name(changed: dict[str, object], code: str) -> None:
    passkey = replace(Passkey(ED), **changed)  # type: ignore[arg-type]
    signature = passkey.sign_record(MESSAGE)
    assert refused(Passkey(ED).credential, signature) == code


def test_what_a_browser_may_add_to_client_data_is_no_reason_to_refuse() -> None:
    passkey = Passkey(ED, more_client_data=',"other_keys_can_be_added_here":"do not compare clientDataJSON"')
    Passkey(ED).credential.verify(passkey.sign_record(MESSAGE), MESSAGE, user_verified=True)


def test_client_data_that_is_cut_off_or_endless_is_malformed() -> None:
    passkey = Passkey(ED)
    made = passkey.answer(MESSAGE)
    cut = webauthn.render(replace(made, client_data=made.client_data[:-1] + b","))
    assert refused(passkey.credential, cut) == "webauthn-client-data"
    long = replace(passkey, more_client_data=',"x":"' + "x" * 2048 + '"')
    assert refused(passkey.credential, long.sign_record(MESSAGE)) in (
        "webauthn-client-data",
        "json-too-large",
        "json-invalid",
    )
    with pytest.raises(Malformed, match="at most"):
        webauthn.check_client_data(b"x" * 2049, challenge=b"", origins=frozenset(), ceremony="get")


def test_a_touch_without_verification_may_ask_and_not_approve() -> None:
    touched = Passkey(ED, flags=0x01)
    touched.credential.verify(touched.sign_record(MESSAGE), MESSAGE, user_verified=False)
    key = SshHolder(ED, "ssh:", flags=0x01)
    key.credential.verify(key.sign_record(MESSAGE), MESSAGE, user_verified=False)
    assert refused(key.credential, key.sign_record(MESSAGE)) == "signature-user-unverified"


def test_a_passkeys_ecdsa_signature_has_one_form() -> None:
    passkey = Passkey(EC)
    other = webauthn.render(replace(passkey.answer(MESSAGE), signature=_other_s(passkey.answer(MESSAGE).signature)))
    assert refused(passkey.credential, other) == "signature-not-canonical"
    spaced = passkey.sign_record(MESSAGE).replace(b":", b": ", 1)
    assert refused(passkey.credential, spaced) == "json-not-canonical"


def _other_s(signature: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric import utils

    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    r, s = utils.decode_dss_signature(signature)
    return utils.encode_dss_signature(r, max(s, order - s))


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("application", [None, "ssh:", "ssh:keyturn"])
@pytest.mark.parametrize("hash_name", ["sha256", "sha512"])
def test_an_ssh_signature_verifies(key: SoftwareKey, application: str | None, hash_name: str) -> None:
    holder = SshHolder(key, application, hash=hash_name)
    envelope = sign(PAYLOAD, holder)
    verify_one(envelope, holder.credential)
    if application is not None:
        verify_user_verified(envelope, holder.credential)
    assert holder.credential.can_verify_user is (application is not None)


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        pytest.param({"namespace": "git"}, "sshsig-namespace", id="signed as a git commit"),
        pytest.param({"flags": 0x04}, "signature-untouched", id="untouched"),
        pytest.param({"application": "ssh:other"}, "signature-key", id="another application of the same key"),
        pytest.param({"application": None}, "signature-key", id="the same point as a plain key"),
        pytest.param({"private": make_key("mallory")}, "signature-key", id="another key"),
    ],
)
def test_an_ssh_signature_made_otherwise_is_refused_by_name(changed: dict[str, object], code: str) -> None:
    holder = SshHolder(ED, "ssh:")
    assert refused(holder.credential, replace(holder, **changed).sign_record(MESSAGE)) == code  # type: ignore[arg-type]


def test_an_ssh_signature_over_something_else_does_not_verify() -> None:
    holder = SshHolder(ED, "ssh:")
    assert refused(holder.credential, holder.sign_record(b"something else")) == "signature-invalid"


def test_flags_that_were_set_after_signing_do_not_verify() -> None:
    holder = SshHolder(ED, "ssh:", flags=0x01)
    found = sshsig.parse(holder.sign_record(MESSAGE))
    forged = sshsig.render(replace(found, signature=replace(found.signature, flags=0x05)))
    assert refused(holder.credential, forged) == "signature-invalid"


def test_an_ssh_ecdsa_signature_has_one_form() -> None:
    holder = SshHolder(EC, "ssh:")
    assert refused(holder.credential, holder.blob(MESSAGE, high_s=True)) == "signature-not-canonical"


@pytest.mark.parametrize("credential", [Credential(ED.public, "software"), SshHolder(ED).credential])
def test_a_key_that_verifies_nobody_never_counts_as_if_it_did(credential: Credential) -> None:
    signer = SshHolder(ED) if credential.kind == "ssh" else ED
    assert refused(credential, signer.sign_record(MESSAGE)) == "signature-user-unverified"


@pytest.mark.parametrize("scheme", ["ed25519", "ecdsa-sha2-nistp256"])
def test_a_token_with_a_pin_signs_as_a_software_key_and_counts(scheme: Scheme) -> None:
    key = SoftwareKey.generate(scheme)
    token = Credential(key.public, "pkcs11")
    token.verify(key.sign_record(MESSAGE), MESSAGE, user_verified=True)
    assert token.device_bound
    other = Credential(EC.public, "pkcs11")
    assert refused(other, _other_s(EC.sign(MESSAGE))) == "signature-not-canonical"


def test_a_signature_of_one_kind_is_none_of_another() -> None:
    kinds = [Credential(ED.public, "pkcs11"), SshHolder(ED, "ssh:").credential, Passkey(ED).credential]
    made = [ED.sign_record(MESSAGE), SshHolder(ED, "ssh:").sign_record(MESSAGE), Passkey(ED).sign_record(MESSAGE)]
    for i, credential in enumerate(kinds):
        for j, signature in enumerate(made):
            if i != j:
                refused(credential, signature)


@pytest.mark.parametrize(
    ("made", "code"),
    [
        pytest.param({"kind": "software", "application": "ssh:"}, "key-application", id="an application of a file"),
        pytest.param({"kind": "ssh-sk"}, "key-application", id="a security key without application"),
        pytest.param({"kind": "webauthn"}, "key-passkey", id="a passkey without a site"),
        pytest.param({"kind": "webauthn", "party": PARTY}, "key-passkey", id="a passkey without an id"),
        pytest.param({"kind": "software", "party": PARTY, "id": "x"}, "key-passkey", id="a file with a site"),
        pytest.param({"kind": "fido2", "party": PARTY, "id": "x"}, "key-passkey", id="a terminal's key with a site"),
        pytest.param({"kind": "webauthn", "party": TERMINAL, "id": "x"}, "key-passkey", id="a passkey with a terminal"),
        pytest.param({"kind": "pkcs11", "synced": True}, "key-passkey", id="a synced token"),
        pytest.param({"kind": "ssh", "attestation": "packed:" + "0" * 32}, "key-passkey", id="an attested file"),
    ],
)
def test_a_key_that_contradicts_itself_is_refused(made: dict[str, object], code: str) -> None:
    with pytest.raises(Malformed) as caught:
        Credential(ED.public, **made)  # type: ignore[arg-type]
    assert caught.value.code == code


@pytest.mark.parametrize(
    "credential",
    [
        Credential(ED.public, "software"),
        Credential(EC.public, "ssh-sk", application="ssh:"),
        Credential(ED.public, "webauthn", id="Y3JlZA==", party=PARTY, synced=True, attestation="packed:" + "0" * 32),
        Credential(ED.public, "fido2", id="Y3JlZA==", party=TERMINAL),
    ],
)
def test_a_key_survives_the_roster(credential: Credential) -> None:
    origins = credential.party.origins if credential.party else frozenset()
    assert Credential.of(credential.enrolled, origins=origins) == credential


def test_a_passkey_without_a_signing_page_is_refused() -> None:
    enrolled = EnrolledKey(kind="webauthn", public=ED.public.text, credential="Y3JlZA==", rp_id="localhost")
    with pytest.raises(Malformed) as caught:
        Credential.of(enrolled, origins=frozenset())
    assert caught.value.code == "signing-page-missing"
    assert Credential.of(enrolled, origins=frozenset({ORIGIN})).party == RelyingParty("localhost", frozenset({ORIGIN}))


@pytest.mark.parametrize(
    "signer", [SshHolder(ED, "ssh:"), SshHolder(EC, "ssh:"), SshHolder(EC), Passkey(EC), Passkey(ED)]
)
def test_every_single_byte_mutation_of_a_signature_is_refused(signer: SshHolder | Passkey) -> None:
    raw = signer.sign_record(MESSAGE)
    for place in range(len(raw)):
        changed = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
        refused(signer.credential, changed)
    for end in range(len(raw)):
        refused(signer.credential, raw[:end])
    refused(signer.credential, raw + b"\0")


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_and_nothing_else_is_raised(raw: bytes) -> None:
    for credential in (SshHolder(ED, "ssh:").credential, Passkey(EC).credential, SshHolder(EC).credential):
        with pytest.raises(KeyturnError):
            credential.verify(raw, MESSAGE, user_verified=False)


def test_what_is_no_p256_key_has_no_point() -> None:
    with pytest.raises(Malformed, match="expected a P-256 key"):
        _ = ED.public.p256_point


def test_a_signature_that_says_another_key_signed_is_refused() -> None:
    passkey = Passkey(ED)
    envelope = Envelope(
        payload_type="application/vnd.in-toto+json",
        payload=PAYLOAD,
        signatures=(Signature(keyid="0" * 64, sig=passkey.sign_record(pae("application/vnd.in-toto+json", PAYLOAD))),),
    )
    with pytest.raises(Refused, match="expected a signature by key"):
        verify_user_verified(envelope, passkey.credential)


def test_an_agents_answer_becomes_an_ssh_signature_of_the_algorithm_that_was_asked_for() -> None:
    key = ssh.ssh_key(ED.public, application=None)
    answer = sshsig.render_signature(SshSignature("ssh-ed25519", raw=ED.sign(ssh.to_be_signed(MESSAGE))))
    Credential(ED.public, "ssh").verify(ssh.from_agent(key, answer), MESSAGE, user_verified=False)
    with pytest.raises(Malformed, match="expected a signature by ecdsa-sha2-nistp256, got ssh-ed25519"):
        ssh.from_agent(ssh.ssh_key(EC.public, application=None), answer)
