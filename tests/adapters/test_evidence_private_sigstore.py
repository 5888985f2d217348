"""Model signatures by an identity, under a Sigstore of the lab's own: verified as whom the lab expects, and each way to break one
refused by name."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from model_signing import hashing, signing, verifying

from keyturn.adapters.evidence.verifiers import Verifiers, guessed
from keyturn.app.custody.papers import model_signature
from keyturn.app.custody.take_evidence import make_evidence
from keyturn.bulk import manifest
from keyturn.errors import KeyturnError
from keyturn.formats.digest import sha256
from keyturn.formats.evidence import Evidence, Presented
from keyturn.formats.outside_statement import OMS
from keyturn.trust.outside import OutsideSigner
from support.labs import NOW, make_lab
from support.outside import changed, trusted_root
from support.private_sigstore import PrivateSigstore
from support.served_sigstore import served, token, trust_config

WHO, BY = "models@vendor.example", "https://login.vendor.example"
VERIFIERS = Verifiers()
YEARS_S = 70 * 365 * 86400


@pytest.fixture
def model(tmp_path: Path) -> Path:
    place = tmp_path / "model"
    (place / "sub").mkdir(parents=True)
    for name in ("weights.safetensors", "config.json", "sub/tokenizer.json"):
        (place / name).write_text(f"the bytes of {name}")
    return place


@pytest.fixture(scope="module")
def sigstore() -> PrivateSigstore:
    return PrivateSigstore()


def signer_under(root: bytes, identity: str = WHO, issuer: str = BY) -> OutsideSigner:
    return OutsideSigner(
        name="vendor",
        method="sigstore",
        statements=frozenset({OMS}),
        identity=identity,
        issuer=issuer,
        trusted_root=sha256(root),
    )


def presented(raw: bytes, model: Path, root: bytes, at: int = NOW) -> Presented:
    return Presented("oms", raw, manifest.make(model).identity, root, b"", at)


def verify(raw: bytes, model: Path, sigstore: PrivateSigstore, signer: OutsideSigner | None = None) -> tuple[str, ...]:
    root = sigstore.trusted_root()
    return VERIFIERS.verify(presented(raw, model, root), signer or signer_under(root)).subjects


def take(raw: bytes, model: Path, root: bytes, signer: OutsideSigner) -> Evidence:
    return make_evidence(
        presented(raw, model, root),
        outside="vendor",
        path=str(model),
        verifier=VERIFIERS,
        trust=make_lab(outside=(signer,)).state,
        member="ada",
        keyid="ab" * 32,
        nonce="0" * 32,
    )


def refused(call: Callable[[], object], why: str = "") -> str:
    """The code with which `call` is refused; `why`: what sigstore-python says, since one code stands for all that it refuses."""
    with pytest.raises(KeyturnError) as caught:
        call()
    assert why in caught.value.message
    return caught.value.code


def statement(model: Path) -> bytes:
    return model_signature._statement(manifest.make(model), "vendor/model", "sha256")


@pytest.mark.parametrize("hashed", ["sha256", "blake3"])
def test_what_model_signing_signs_by_an_identity_is_verified_by_it_and_here(
    model: Path, tmp_path: Path, hashed: Literal["sha256", "blake3"]
) -> None:
    made = PrivateSigstore(lifetime_s=YEARS_S)  # model-signing looks at this machine's clock before it signs
    config = tmp_path / "trust.json"
    with served(made) as url:
        config.write_bytes(trust_config(made, url))
        (
            signing.Config()  # type: ignore[no-untyped-call]
            .use_sigstore_signer(identity_token=token(WHO, BY), trust_config=config)
            .set_hashing_config(hashing.Config().use_file_serialization(hashing_algorithm=hashed))  # type: ignore[no-untyped-call]
            .sign(model, tmp_path / "model.sig")
        )
    raw, root = (tmp_path / "model.sig").read_bytes(), made.trusted_root()
    signer = signer_under(root)
    (tmp_path / "as-taken").write_bytes(raw)
    verifying.Config().use_sigstore_verifier(  # type: ignore[no-untyped-call]
        identity=WHO, oidc_issuer=BY, trust_config=config
    ).verify(model, tmp_path / "as-taken")
    assert guessed(raw) == "oms"
    taken = take(raw, model, root, signer)
    assert (taken.found.signer, taken.found.issuer, taken.original) == (WHO, BY, raw)
    assert taken.bound == ("digest" if hashed == "sha256" else "files")
    (model / "config.json").write_text("other bytes")
    assert refused(lambda: take(raw, model, root, signer)) == "evidence-other-subject"


def signed(sigstore: PrivateSigstore, model: Path, **more: Any) -> bytes:
    return sigstore.sign(statement(model), **({"identity": WHO, "issuer": BY} | more))


@pytest.mark.parametrize(
    ("identity", "issuer", "expected"),
    [
        pytest.param("mallory@vendor.example", BY, "evidence-signer-other", id="another identity"),
        pytest.param(WHO + ".example", BY, "evidence-signer-other", id="an identity that begins alike"),
        pytest.param(WHO, "https://login.mallory.example", "evidence-signer-other", id="another issuer"),
        pytest.param(WHO, BY + "/", "evidence-signer-other", id="an issuer that begins alike"),
    ],
)
def test_a_model_signed_by_another_identity_or_vouched_for_by_another_issuer_is_refused(
    model: Path, sigstore: PrivateSigstore, identity: str, issuer: str, expected: str
) -> None:
    assert verify(signed(sigstore, model), model, sigstore) == (str(manifest.make(model).identity),)
    raw = signed(sigstore, model, identity=identity, issuer=issuer)
    assert refused(lambda: verify(raw, model, sigstore)) == expected
    uri = "https://ci.vendor.example/models/release.yml@refs/tags/v1"
    raw = signed(sigstore, model, identity=uri)
    assert verify(raw, model, sigstore, signer_under(sigstore.trusted_root(), uri))


def _material(alter: Callable[[Any], None]) -> Callable[[Any], None]:
    return lambda bundle: alter(bundle["verificationMaterial"])


def _payload(bundle: Any) -> None:
    said = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    said["predicate"]["resources"][0]["digest"] = "0" * 64
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(said).encode()).decode()


@pytest.mark.parametrize(
    ("alter", "code", "why"),
    [
        pytest.param(_payload, "evidence-signature", "DSSE: invalid signature", id="a tampered payload"),
        pytest.param(
            _material(lambda m: m["tlogEntries"][0].pop("inclusionProof")),
            "evidence-inclusion-missing",
            "no proof",
            id="no inclusion proof",
        ),
        pytest.param(
            _material(lambda m: m["tlogEntries"][0].pop("inclusionPromise")),
            "evidence-time-missing",
            "neither the promise of a log nor a timestamp",
            id="nobody's time",
        ),
        pytest.param(
            _material(lambda m: m.pop("tlogEntries")), "evidence-inclusion-missing", "no proof", id="no log entry"
        ),
        pytest.param(
            _material(lambda m: m["tlogEntries"][0]["inclusionProof"].update(hashes=[])),
            "evidence-signature",
            "inclusion proof has wrong size",
            id="a proof without hashes",
        ),
        pytest.param(
            _material(lambda m: m["tlogEntries"][0].update(integratedTime=str(NOW + 1))),
            "evidence-signature",
            "invalid inclusion promise",
            id="a time that the log did not promise",
        ),
    ],
)
def test_a_model_signature_of_an_identity_that_was_altered_is_refused(
    model: Path, sigstore: PrivateSigstore, alter: Callable[[Any], None], code: str, why: str
) -> None:
    raw = changed(signed(sigstore, model), alter)
    assert refused(lambda: verify(raw, model, sigstore), why) == code


def test_a_certificate_counts_at_the_time_at_which_the_log_took_the_signature(
    model: Path, sigstore: PrivateSigstore
) -> None:
    long_ago = NOW - 400 * 86400
    assert verify(signed(sigstore, model, at=long_ago), model, sigstore)  # expired now, and valid when it was logged
    for late in (sigstore.lifetime_s + 1, 86400, -1):
        raw = signed(sigstore, model, logged_at=NOW + late)
        assert refused(partial(verify, raw, model, sigstore), "not valid at validation") == "evidence-signature"
    assert verify(signed(sigstore, model, logged_at=NOW + sigstore.lifetime_s), model, sigstore)


def test_the_certificate_is_in_the_certificate_transparency_log_of_the_trusted_root(
    model: Path, sigstore: PrivateSigstore
) -> None:
    raw = signed(sigstore, model, ct_key=ec.generate_private_key(ec.SECP256R1()))
    assert refused(lambda: verify(raw, model, sigstore), "SCT verify failed") == "evidence-signature"
    raw = signed(sigstore, model, with_sct=False)
    assert refused(lambda: verify(raw, model, sigstore), "SCT on signing certificate") == "evidence-signature"


def test_an_entry_of_another_artifact_or_of_another_log_proves_nothing(
    model: Path, sigstore: PrivateSigstore, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "weights").write_text("others")
    mine, theirs = json.loads(signed(sigstore, model)), json.loads(signed(sigstore, other))
    mine["verificationMaterial"]["tlogEntries"] = theirs["verificationMaterial"]["tlogEntries"]
    call = partial(verify, json.dumps(mine).encode(), model, sigstore)
    assert refused(call, "log entry payload hash does not match") == "evidence-signature"
    elsewhere = PrivateSigstore(root_key=sigstore.root_key, ca_key=sigstore.ca_key, ct_key=sigstore.ct_key)
    raw = signed(elsewhere, model)
    assert refused(lambda: verify(raw, model, sigstore), "checkpoint: invalid signature") == "evidence-signature"


def test_under_another_root_nothing_of_a_private_sigstore_verifies(model: Path, sigstore: PrivateSigstore) -> None:
    raw = signed(sigstore, model)
    for root in (trusted_root(), PrivateSigstore().trusted_root()):
        one = presented(raw, model, root)
        assert refused(partial(VERIFIERS.verify, one, signer_under(root)), "certificate chain") == "evidence-signature"
    forged = PrivateSigstore(
        ct_key=sigstore.ct_key, log_key=sigstore.log_key
    )  # the logs are the lab's, the authority is not
    other = signed(forged, model)
    assert refused(lambda: verify(other, model, sigstore), "certificate chain") == "evidence-signature"
    signer = signer_under(sigstore.trusted_root())  # whoever brings evidence does not bring its root
    assert refused(lambda: take(raw, model, trusted_root(), signer)) == "evidence-material"


def test_a_signature_about_another_model_is_refused(model: Path, sigstore: PrivateSigstore) -> None:
    raw, root = signed(sigstore, model), sigstore.trusted_root()
    (model / "config.json").write_text("other bytes")
    assert refused(lambda: take(raw, model, root, signer_under(root))) == "evidence-other-subject"


@pytest.mark.parametrize("which", ["log", "authority"])
def test_a_key_counts_while_the_trusted_root_says_so_and_no_longer(
    model: Path, sigstore: PrivateSigstore, which: str
) -> None:
    """Its owner retired it, perhaps since it was stolen: what it signs afterwards says any time that the thief likes but that."""

    def retired(at: str, start: str = "2023-01-01T00:00:00Z") -> bytes:
        def alter(root: Any) -> None:
            one = root["tlogs"][0]["publicKey"] if which == "log" else root["certificateAuthorities"][0]
            one["validFor"] = {"start": start, "end": at}

        return changed(sigstore.trusted_root(), alter)

    raw = signed(sigstore, model)
    for root, expected in (
        (retired("2026-09-21T14:13:20Z"), ""),  # the very second
        (retired("2026-09-21T14:13:19Z"), "evidence-signature"),
        (retired("2027-01-01T00:00:00Z", start="2026-09-21T14:13:21Z"), "evidence-signature"),
    ):
        call = partial(VERIFIERS.verify, presented(raw, model, root), signer_under(root))
        if expected:
            assert refused(call, "but not for 2026-09-21 14:13:20 UTC") == expected
        else:
            assert call().subjects
