"""What model-signing signs, with keys and certificates, is verified as whom the lab expects; and each way to break it by name."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from model_signing import hashing, verifying

from keyturn.adapters.evidence.verifiers import Verifiers, guessed
from keyturn.app.custody.take_evidence import make_evidence
from keyturn.bulk import manifest
from keyturn.errors import KeyturnError
from keyturn.formats.digest import ArtifactDigest
from keyturn.formats.evidence import Evidence, Presented
from keyturn.trust.outside import OutsideSigner
from support.labs import NOW, make_lab
from support.model_signatures import Ca, Key
from support.outside import changed

VERIFIERS = Verifiers()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    place = tmp_path / "model"
    (place / "sub").mkdir(parents=True)
    for name in ("weights.safetensors", "config.json", "sub/tokenizer.json"):
        (place / name).write_text(f"the bytes of {name}")
    return place


def digest(model: Path) -> ArtifactDigest:
    return manifest.make(model).identity


def presented(raw: bytes, artifact: ArtifactDigest, at: int = NOW) -> Presented:
    return Presented("oms", raw, artifact, b"", b"", at)


def take(raw: bytes, model: Path, signer: OutsideSigner, at: int = NOW, path: Path | None = None) -> Evidence:
    return make_evidence(
        presented(raw, digest(model), at),
        outside="vendor",
        path=str(path or model),
        verifier=VERIFIERS,
        trust=make_lab(outside=(signer,)).state,
        member="ada",
        keyid="ab" * 32,
        nonce="0" * 32,
    )


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(KeyturnError) as caught:
        call()
    return caught.value.code


def test_a_model_that_a_key_signed_is_bound_by_its_files_names_and_digests(model: Path, tmp_path: Path) -> None:
    key = Key.make(tmp_path / "vendor", ec.SECP384R1())
    raw = key.sign_model(model)
    taken = take(raw, model, key.signer())
    assert guessed(raw) == taken.format == "oms"
    assert (taken.bound, taken.found.subjects) == ("digest", (str(digest(model)),))
    (tmp_path / "again").write_bytes(taken.original)  # the bytes as they came: their own verifier takes them
    public = tmp_path / "public.pem"
    public.write_bytes(_pem(key))
    verifying.Config().use_elliptic_key_verifier(public_key=public).verify(model, tmp_path / "again")


def _pem(key: Key) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def test_one_file_is_bound_by_its_digest(model: Path, tmp_path: Path) -> None:
    key = Key.make(tmp_path / "vendor")
    file = model / "config.json"
    assert take(key.sign_model(file), file, key.signer()).found.subjects == (str(digest(file)),)


@pytest.mark.parametrize("how", ["blake3", "shards"])
def test_other_digests_than_sha256_bind_by_the_files_that_the_member_compared(
    model: Path, tmp_path: Path, how: str
) -> None:
    key = Key.make(tmp_path / "vendor")
    config = hashing.Config()
    config = (
        config.use_file_serialization(hashing_algorithm="blake3")
        if how == "blake3"
        else config.use_shard_serialization(shard_size=7)
    )
    raw = key.sign_model(model, config)
    taken = take(raw, model, key.signer())
    assert (taken.bound, taken.found.subjects) == ("files", ())
    assert VERIFIERS.verify(taken.presented, key.signer()) == taken.found
    (model / "config.json").write_text("other bytes")
    assert refused(lambda: take(raw, model, key.signer())) == "evidence-other-subject"
    (model / "more").write_text("one file more")
    assert refused(lambda: take(raw, model, key.signer())) == "evidence-other-subject"
    assert refused(lambda: take(raw, model, key.signer(), path=tmp_path / "nowhere")) == "evidence-other-subject"


def test_another_model_is_refused_even_with_the_same_files_under_exchanged_names(model: Path, tmp_path: Path) -> None:
    key = Key.make(tmp_path / "vendor")
    raw = key.sign_model(model)
    one, two = model / "config.json", model / "weights.safetensors"
    before = one.read_text(), two.read_text()
    one.write_text(before[1])
    two.write_text(before[0])
    assert refused(lambda: take(raw, model, key.signer())) == "evidence-other-subject"


def _payload(alter: Callable[[Any], None]) -> Callable[[Any], None]:
    def change(bundle: Any) -> None:
        payload = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
        alter(payload)
        bundle["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(payload).encode()).decode()

    return change


@pytest.mark.parametrize(
    ("alter", "code"),
    [
        pytest.param(_payload(lambda p: p["predicate"]["resources"].pop()), "evidence-signature", id="a file less"),
        pytest.param(
            _payload(lambda p: p["predicate"].pop("resources")), "evidence-signature", id="a root without names"
        ),
        pytest.param(lambda b: b["dsseEnvelope"].pop("signatures"), "evidence-signature", id="no signature"),
        pytest.param(lambda b: b.pop("verificationMaterial"), "evidence-signature", id="no material"),
        pytest.param(
            lambda b: b["verificationMaterial"]["publicKey"].update(hint="ab" * 32), "evidence-signature", id="key hint"
        ),
        pytest.param(lambda b: b.update(mediaType="text/plain"), "evidence-signature", id="another media type"),
    ],
)
def test_a_model_signature_that_was_altered_is_refused(
    model: Path, tmp_path: Path, alter: Callable[[Any], None], code: str
) -> None:
    key = Key.make(tmp_path / "vendor")
    raw = changed(key.sign_model(model), alter)
    assert refused(lambda: take(raw, model, key.signer())) == code


def test_a_signed_root_without_the_files_names_is_refused(model: Path, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import hashes

    from keyturn.formats import dsse

    key = Key.make(tmp_path / "vendor")

    def nameless(bundle: Any) -> None:
        _payload(lambda p: p["predicate"].update(resources=[]))(bundle)
        payload = base64.b64decode(bundle["dsseEnvelope"]["payload"])
        signature = key.private.sign(dsse.pae(dsse.IN_TOTO, payload), ec.ECDSA(hashes.SHA256()))
        bundle["dsseEnvelope"]["signatures"] = [{"sig": base64.b64encode(signature).decode(), "keyid": ""}]

    raw = changed(key.sign_model(model), nameless)
    assert refused(lambda: take(raw, model, key.signer())) in ("evidence-signature", "statement-invalid")


def test_another_key_is_refused(model: Path, tmp_path: Path) -> None:
    raw = Key.make(tmp_path / "mallory").sign_model(model)
    assert refused(lambda: take(raw, model, Key.make(tmp_path / "vendor").signer())) == "evidence-signature"


def test_a_certificate_must_be_of_whom_the_lab_expects_valid_and_below_the_labs_root(
    model: Path, tmp_path: Path
) -> None:
    ca = Ca.make(tmp_path / "vendor")
    raw = ca.sign_model(model)
    taken = take(raw, model, ca.signer())
    assert (taken.found.signer, taken.bound) == ("models@vendor.example", "digest")
    assert take(raw, model, ca.signer("CN=Vendor Models")).found.signer == "CN=Vendor Models"
    assert refused(lambda: take(raw, model, ca.signer("models@other.example"))) == "evidence-signer-other"
    other = Ca.make(tmp_path / "other")
    assert refused(lambda: take(raw, model, other.signer())) == "evidence-signature"
    for days in (-11, 11):
        assert (
            refused(lambda days=days: take(raw, model, ca.signer(), NOW + days * 86400))
            == "evidence-certificate-expired"
        )
    assert take(raw, model, ca.signer(), NOW + 9 * 86400).bound == "digest"
    assert refused(lambda: take(raw, model, replace(ca.signer(), roots=(b"none",)))) == "outside-key"


def test_a_certificate_for_something_else_signs_nothing(model: Path, tmp_path: Path) -> None:
    ca = Ca.make(tmp_path / "vendor", usage=ExtendedKeyUsageOID.SERVER_AUTH)
    assert refused(lambda: take(ca.sign_model(model), model, ca.signer())) == "evidence-signature"


def test_files_by_certificate_are_compared_and_other_formats_name_none(model: Path, tmp_path: Path) -> None:
    ca = Ca.make(tmp_path / "vendor")
    raw = ca.sign_model(model)
    one = presented(raw, digest(model))
    VERIFIERS.compare_files(one, ca.signer(), str(model))
    sigstore = OutsideSigner(
        name="x", method="sigstore", statements=frozenset({"x"}), identity="x", issuer="x", trusted_root="ab" * 32
    )
    assert refused(lambda: VERIFIERS.compare_files(one, sigstore, str(model))) == "evidence-files"
    assert refused(lambda: VERIFIERS.compare_files(replace(one, format="dsse"), sigstore, ".")) == "evidence-files"


@pytest.mark.parametrize("raw", [b"{}", b"[]", b"\xff", b"null", b'{"verificationMaterial":{}}'])
def test_what_is_no_model_signature_is_refused(raw: bytes, tmp_path: Path) -> None:
    artifact = ArtifactDigest.parse("sha256:" + "ab" * 32)
    key, ca = Key.make(tmp_path / "key"), Ca.make(tmp_path / "ca")
    assert refused(lambda: VERIFIERS.verify(presented(raw, artifact), key.signer())) == "evidence-signature"
    assert refused(lambda: VERIFIERS.verify(presented(raw, artifact), ca.signer())) == "evidence-bundle"
