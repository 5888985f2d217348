"""What a key signed: summaries, cosign's attestations, bundles and signatures over a file; by that key, or refused by name."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, padding, rsa

from keyturn.adapters.evidence.verifiers import Verifiers, guessed
from keyturn.app.custody.take_evidence import make_evidence
from keyturn.custody.expected import bound_to
from keyturn.errors import KeyturnError
from keyturn.formats import dsse
from keyturn.formats.digest import ArtifactDigest, Sha256, sha256
from keyturn.formats.evidence import Found, Presented
from keyturn.formats.outside_statement import VSA_V1
from keyturn.trust.outside import OutsideSigner
from support.labs import NOW, make_lab
from support.model_signatures import Key, der, envelope, said

FILE = b"the bytes of a file"
ARTIFACT = ArtifactDigest("sha256", Sha256(hashlib.sha256(FILE).hexdigest()))
SUMMARY: dict[str, Any] = {
    "verifier": {"id": "https://v.example"},
    "timeVerified": "2026-09-01T00:00:00Z",
    "resourceUri": "pkg:generic/x",
    "policy": {"uri": "https://v.example/policy"},
    "verificationResult": "PASSED",
    "verifiedLevels": ["SLSA_BUILD_LEVEL_3"],
}


@pytest.fixture
def key(tmp_path: Path) -> Key:
    return Key.make(tmp_path / "vendor")


def verify(raw: bytes, signer: OutsideSigner, artifact: ArtifactDigest = ARTIFACT) -> Found:
    found = Verifiers().verify(Presented(guessed(raw), raw, artifact, b"", b"", NOW), signer)
    assert bound_to(found, str(artifact))
    return found


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(KeyturnError) as caught:
        call()
    return caught.value.code


def verifier_of(key: Key, level: int = 2) -> OutsideSigner:
    return key.signer(VSA_V1, verifier="https://v.example", resource="pkg:generic/x", level=level)


def test_a_verification_summary_is_believed_as_its_verifiers(key: Key) -> None:
    raw = envelope(said(VSA_V1, SUMMARY, ARTIFACT.hex), key.private)
    found = verify(raw, verifier_of(key))
    assert (found.level, found.signer) == (3, f"key:{sha256(der(key.private.public_key()))}")


@pytest.mark.parametrize(
    ("kind", "change", "subject", "by", "code"),
    [
        pytest.param(
            VSA_V1, {}, ARTIFACT.hex, "mallory", "evidence-signature", id="(1) by a key of whom the lab trusts"
        ),
        pytest.param(VSA_V1, {}, "0" * 64, "v", "evidence-other-subject", id="(2) its subject is the artifact"),
        pytest.param(
            VSA_V1.replace("v1", "v0.2"),
            {},
            ARTIFACT.hex,
            "v",
            "evidence-statement",
            id="(3) it is a summary, version 1",
        ),
        pytest.param(
            VSA_V1,
            {"verifier": {"id": "https://w.example"}},
            ARTIFACT.hex,
            "v",
            "vsa-verifier",
            id="(4) its verifier is whose key signed",
        ),
        pytest.param(
            VSA_V1,
            {"resourceUri": "pkg:generic/y"},
            ARTIFACT.hex,
            "v",
            "vsa-resource",
            id="(5) it is of the resource that is expected",
        ),
        pytest.param(
            VSA_V1, {"verificationResult": "FAILED"}, ARTIFACT.hex, "v", "vsa-failed", id="(6) the result is PASSED"
        ),
        pytest.param(
            VSA_V1,
            {"verifiedLevels": ["SLSA_BUILD_LEVEL_1", "SLSA_SOURCE_LEVEL_3"]},
            ARTIFACT.hex,
            "v",
            "vsa-level",
            id="(7) the levels have the one that is expected",
        ),
    ],
)
def test_the_seven_checks_of_a_verification_summary_are_made(
    tmp_path: Path, kind: str, change: dict[str, Any], subject: str, by: str, code: str
) -> None:
    """https://slsa.dev/spec/v1.2/verification_summary#how-to-verify, by its numbers."""
    keys = {name: Key.make(tmp_path / name) for name in ("v", "mallory")}
    signer = verifier_of(keys["v"])
    trust = make_lab(outside=(signer,)).state

    def take(raw: bytes) -> int:
        one = Presented(guessed(raw), raw, ARTIFACT, b"", b"", NOW)
        more: dict[str, Any] = {"member": "ada", "keyid": "ab" * 32, "nonce": "0" * 32, "path": None}
        return make_evidence(one, outside="vendor", verifier=Verifiers(), trust=trust, **more).found.level

    assert take(envelope(said(VSA_V1, SUMMARY, ARTIFACT.hex), keys["v"].private)) == 3
    raw = envelope(said(kind, SUMMARY | change, subject), keys[by].private)
    assert refused(lambda: take(raw)) == code


def test_another_key_or_an_altered_envelope_is_refused(key: Key, tmp_path: Path) -> None:
    raw = envelope(said(VSA_V1, SUMMARY, ARTIFACT.hex), key.private)
    other = Key.make(tmp_path / "mallory")
    assert refused(lambda: verify(raw, verifier_of(other))) == "evidence-signature"
    value = json.loads(raw)
    value["payload"] = base64.b64encode(said(VSA_V1, SUMMARY | {"x": 1}, ARTIFACT.hex)).decode()
    assert refused(lambda: verify(json.dumps(value).encode(), verifier_of(key))) == "evidence-signature"
    value["payloadType"] = "text/plain"
    assert refused(lambda: verify(json.dumps(value).encode(), verifier_of(key))) == "dsse-payload-type"


def test_a_bundle_that_a_key_signed_is_verified_by_it(key: Key) -> None:
    statement = said("https://cosign.sigstore.dev/attestation/v1", {"Data": "x"}, ARTIFACT.hex)
    signer = key.signer("https://cosign.sigstore.dev/attestation/v1", "signature")
    material = {"publicKey": {"hint": "any"}, "tlogEntries": []}
    bundle = {"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json", "verificationMaterial": material}
    attested = bundle | {"dsseEnvelope": json.loads(envelope(statement, key.private))}
    assert verify(json.dumps(attested).encode(), signer).statement == "https://cosign.sigstore.dev/attestation/v1"
    signature = base64.b64encode(key.private.sign(FILE, ec.ECDSA(hashes.SHA256()))).decode()
    over = bundle | {"messageSignature": {"signature": signature}}
    assert verify(json.dumps(over).encode(), signer).statement == "signature"
    assert refused(lambda: verify(json.dumps(bundle).encode(), signer)) == "evidence-bundle"


def test_cosigns_signature_over_a_file_is_verified_by_the_files_digest(key: Key) -> None:
    raw = base64.b64encode(key.private.sign(FILE, ec.ECDSA(hashes.SHA256()))) + b"\n"
    found = verify(raw, key.signer("signature"))
    assert (found.statement, found.subjects) == ("signature", (str(ARTIFACT),))
    other = ArtifactDigest("sha256", Sha256("0" * 64))
    assert refused(lambda: verify(raw, key.signer("signature"), other)) == "evidence-signature"
    directory = ArtifactDigest("dirHash", ARTIFACT.hex)
    assert refused(lambda: verify(raw, key.signer("signature"), directory)) == "evidence-other-subject"
    assert refused(lambda: verify(b"no base64!", key.signer("signature"))) == "evidence-bundle"


def test_keys_of_rsa_and_ed25519(key: Key) -> None:
    big = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    signer = replace(key.signer("signature", "https://x.example/v1"), public=der(big.public_key()))
    over = base64.b64encode(big.sign(FILE, padding.PKCS1v15(), hashes.SHA256()))
    assert verify(over, signer).statement == "signature"
    payload = said("https://x.example/v1", None, ARTIFACT.hex)
    message = dsse.pae(dsse.IN_TOTO, payload)

    def enveloped(signature: bytes) -> bytes:
        value = {"payloadType": dsse.IN_TOTO, "payload": base64.b64encode(payload).decode()}
        return json.dumps(value | {"signatures": [{"sig": base64.b64encode(signature).decode()}]}).encode()

    assert verify(enveloped(big.sign(message, padding.PKCS1v15(), hashes.SHA256())), signer)
    small = ed25519.Ed25519PrivateKey.generate()
    signer = replace(signer, public=der(small.public_key()))
    assert verify(enveloped(small.sign(message)), signer)
    assert refused(lambda: verify(base64.b64encode(small.sign(FILE)), signer)) == "evidence-method"


def test_a_key_that_is_none_or_of_another_kind_verifies_nothing(key: Key) -> None:
    raw = base64.b64encode(b"x")
    assert refused(lambda: verify(raw, replace(key.signer("signature"), public=b"none"))) == "outside-key"
    other = der(dsa.generate_private_key(2048).public_key())
    assert refused(lambda: verify(raw, replace(key.signer("signature"), public=other))) == "outside-key"
    sigstore = OutsideSigner(
        name="x", method="sigstore", statements=frozenset({"x"}), identity="x", issuer="x", trusted_root="ab" * 32
    )
    assert refused(lambda: verify(raw, sigstore)) == "evidence-method"
