"""What model-signing signs, with keys and certificates, is verified as whom the lab expects; and each way to break it by name."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from model_signing import hashing, verifying

from keyturn.adapters.evidence.verifiers import Verifiers, guessed
from keyturn.app.custody.take_evidence import make_evidence
from keyturn.bulk import manifest
from keyturn.errors import KeyturnError
from keyturn.formats import dsse
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


HOW = {
    "blake3": lambda config: config.use_file_serialization(hashing_algorithm="blake3"),
    "blake2": lambda config: config.use_file_serialization(hashing_algorithm="blake2"),
    "shards": lambda config: config.use_shard_serialization(shard_size=7),
}


@pytest.mark.parametrize("by", ["key", "certificate"])
@pytest.mark.parametrize("how", HOW)
def test_other_digests_than_sha256_bind_by_the_files_that_the_member_compared(
    model: Path, tmp_path: Path, how: str, by: str
) -> None:
    vendor = Key.make(tmp_path / "vendor") if by == "key" else Ca.make(tmp_path / "vendor")
    raw = vendor.sign_model(model, HOW[how](hashing.Config()))  # type: ignore[no-untyped-call]
    taken = take(raw, model, vendor.signer())
    assert (taken.bound, taken.found.subjects) == ("files", ())
    assert VERIFIERS.verify(taken.presented(taken.original), vendor.signer()) == taken.found
    (model / "config.json").write_text("other bytes")
    assert refused(lambda: take(raw, model, vendor.signer())) == "evidence-other-subject"
    (model / "config.json").write_text("the bytes of config.json")
    other = replace(presented(raw, digest(model)), artifact=ArtifactDigest.parse("dirHash:" + "0" * 64))
    assert refused(lambda: VERIFIERS.compare_files(other, vendor.signer(), str(model))) == "evidence-other-subject"
    (model / "more").write_text("one file more")
    assert refused(lambda: take(raw, model, vendor.signer())) == "evidence-other-subject"
    (model / "more").unlink()
    (model / "config.json").rename(model / "config.yaml")
    assert refused(lambda: take(raw, model, vendor.signer())) == "evidence-other-subject"
    assert refused(lambda: take(raw, model, vendor.signer(), path=tmp_path / "nowhere")) == "artifact-missing"


@pytest.mark.parametrize("how", HOW)
def test_files_that_the_signers_tool_ignored_are_signed_by_nobody(model: Path, tmp_path: Path, how: str) -> None:
    key = Key.make(tmp_path / "vendor")
    for name in (
        ".gitattributes",
        "run_me.py",
        "empty",
    ):  # git's by itself, one as its user says, one without any shard
        (model / name).write_text("" if name == "empty" else "anything")
        config = HOW[how](hashing.Config())  # type: ignore[no-untyped-call]
        config.set_ignored_paths(paths=["run_me.py", *(["empty"] if how != "shards" else [])])
        raw = key.sign_model(model, config)
        assert refused(partial(take, raw, model, key.signer())) == "evidence-other-subject"
        (model / name).unlink()
        assert take(raw, model, key.signer()).bound == "files"


@pytest.mark.parametrize("how", HOW)
def test_what_git_keeps_is_signed_too_when_the_signer_says_so(model: Path, tmp_path: Path, how: str) -> None:
    key = Key.make(tmp_path / "vendor")
    (model / ".gitattributes").write_text("anything")
    config = HOW[how](hashing.Config())  # type: ignore[no-untyped-call]
    config.set_ignored_paths(paths=[], ignore_git_paths=False)
    assert take(key.sign_model(model, config), model, key.signer()).bound == "files"


def test_files_are_compared_with_what_verifies_alone(model: Path, tmp_path: Path) -> None:
    raw = Key.make(tmp_path / "mallory").sign_model(model, HOW["blake3"](hashing.Config()))  # type: ignore[no-untyped-call]
    signer, one = Key.make(tmp_path / "vendor").signer(), presented(raw, digest(model))
    assert refused(lambda: VERIFIERS.compare_files(one, signer, str(model))) == "evidence-signature"


def test_one_file_is_compared_by_its_blake3(model: Path, tmp_path: Path) -> None:
    key, file = Key.make(tmp_path / "vendor"), model / "config.json"
    raw = key.sign_model(file, HOW["blake3"](hashing.Config()))  # type: ignore[no-untyped-call]
    assert take(raw, file, key.signer()).bound == "files"


def test_a_way_of_hashing_that_is_none_is_refused(model: Path, tmp_path: Path) -> None:
    key = Key.make(tmp_path / "vendor")
    raw = signed_anew(key, key.sign_model(model), lambda p: p["predicate"]["serialization"].update(hash_type="md5"))
    one = presented(raw, digest(model))
    assert refused(lambda: VERIFIERS.compare_files(one, key.signer(), str(model))) == "evidence-other-subject"


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


def signed_anew(key: Key, raw: bytes, alter: Callable[[Any], None]) -> bytes:
    """The model signature `raw`, altered by its own signer."""

    def change(bundle: Any) -> None:
        _payload(alter)(bundle)
        payload = base64.b64decode(bundle["dsseEnvelope"]["payload"])
        signature = key.private.sign(dsse.pae(dsse.IN_TOTO, payload), ec.ECDSA(hashes.SHA256()))
        bundle["dsseEnvelope"]["signatures"] = [{"sig": base64.b64encode(signature).decode(), "keyid": ""}]

    return changed(raw, change)


def test_a_signed_root_without_the_files_names_is_refused(model: Path, tmp_path: Path) -> None:
    key = Key.make(tmp_path / "vendor")
    raw = signed_anew(key, key.sign_model(model), lambda p: p["predicate"].update(resources=[]))
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


def test_whoever_has_a_certificate_below_the_root_issues_none_in_the_name_of_others(
    model: Path, tmp_path: Path
) -> None:
    mallory = Ca.make(tmp_path / "mallory", below_a_ca=False)
    assert refused(lambda: take(mallory.sign_model(model), model, mallory.signer())) == "evidence-signature"


def test_a_certificate_for_something_else_signs_nothing(model: Path, tmp_path: Path) -> None:
    ca = Ca.make(tmp_path / "vendor", usage=ExtendedKeyUsageOID.SERVER_AUTH)
    assert refused(lambda: take(ca.sign_model(model), model, ca.signer())) == "evidence-signature"


def test_files_by_certificate_are_compared_and_other_formats_name_none(model: Path, tmp_path: Path) -> None:
    ca = Ca.make(tmp_path / "vendor")
    raw = ca.sign_model(model)
    one = presented(raw, digest(model))
    VERIFIERS.compare_files(one, ca.signer(), str(model))
    assert refused(lambda: VERIFIERS.compare_files(replace(one, format="dsse"), ca.signer(), ".")) == "evidence-files"


@pytest.mark.parametrize("raw", [b"{}", b"[]", b"\xff", b"null", b'{"verificationMaterial":{}}'])
def test_what_is_no_model_signature_is_refused(raw: bytes, tmp_path: Path) -> None:
    artifact = ArtifactDigest.parse("sha256:" + "ab" * 32)
    key, ca = Key.make(tmp_path / "key"), Ca.make(tmp_path / "ca")
    code = "evidence-bundle" if raw == b"\xff" else "evidence-signature"
    assert refused(lambda: VERIFIERS.verify(presented(raw, artifact), key.signer())) == code
    assert refused(lambda: VERIFIERS.verify(presented(raw, artifact), ca.signer())) == "evidence-bundle"


def test_a_model_signature_that_says_something_twice_or_ends_early_is_refused(model: Path, tmp_path: Path) -> None:
    key = Key.make(tmp_path / "vendor")
    raw = key.sign_model(model)
    for field, instead in ((b'"payload":', b'"AAAA",'), (b'"dsseEnvelope":', b"null,")):
        assert raw.count(field) == 1
        twice = raw.replace(field, field + instead + field)
        assert refused(lambda twice=twice: take(twice, model, key.signer())) == "evidence-bundle"  # type: ignore[misc]
    assert refused(lambda: take(raw[:-1], model, key.signer())) == "evidence-bundle"
    assert refused(lambda: take(raw + b"{}", model, key.signer())) == "evidence-bundle"
    deep = raw[:-1] + b',"more":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    assert refused(lambda: take(deep, model, key.signer())) == "evidence-bundle"
