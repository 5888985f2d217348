"""Model signatures in a log in tiles (Rekor v2), whose time a timestamp authority vouches for: as sigstore-python verifies them,
and stricter where a key of the trusted root was retired."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from model_signing import signing, verifying
from sigstore.errors import Error as SigstoreError
from sigstore.models import Bundle, TrustedRoot
from sigstore.verify import Verifier
from sigstore.verify.policy import Identity
from sigstore_models.trustroot.v1 import TrustedRoot as TrustedRootMessage

from keyturn.adapters.evidence.verifiers import Verifiers
from keyturn.app.custody.papers import model_signature
from keyturn.bulk import manifest
from keyturn.errors import KeyturnError
from keyturn.formats.digest import sha256
from keyturn.formats.evidence import Presented
from keyturn.formats.outside_statement import OMS
from keyturn.trust.outside import OutsideSigner
from support.labs import NOW
from support.outside import changed
from support.private_sigstore import PrivateSigstore
from support.served_sigstore import served, token, trust_config
from support.tiled_sigstore import StampAuthority, TiledSigstore

WHO, BY = "models@vendor.example", "https://login.vendor.example"
YEARS_S = 70 * 365 * 86400
THEN = "2026-09-21T14:13:20Z"
"""`NOW`, at which everything here is signed."""


@dataclass(frozen=True)
class Signed:
    """A model, what signs it, and its signature."""

    tiled: TiledSigstore
    model: Path
    raw: bytes

    @property
    def payload(self) -> bytes:
        return base64.b64decode(json.loads(self.raw)["dsseEnvelope"]["payload"])

    def again(self, stamped: Callable[[bytes], Sequence[bytes]], tiled: TiledSigstore | None = None) -> bytes:
        return (tiled or self.tiled).sign(self.payload, identity=WHO, issuer=BY, stamped=stamped)


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Signed:
    place = tmp_path_factory.mktemp("tiled")
    model = place / "model"
    model.mkdir()
    (model / "weights.safetensors").write_text("weights")
    tiled = TiledSigstore(PrivateSigstore(), StampAuthority.make(place / "stamps"))
    statement = model_signature._statement(manifest.make(model), "vendor/model", "sha256")
    return Signed(tiled, model, tiled.sign(statement, identity=WHO, issuer=BY))


def presented(raw: bytes, model: Path, root: bytes) -> tuple[Presented, OutsideSigner]:
    signer = OutsideSigner(
        name="vendor",
        method="sigstore",
        statements=frozenset({OMS}),
        identity=WHO,
        issuer=BY,
        trusted_root=sha256(root),
    )
    return Presented("oms", raw, manifest.make(model).identity, root, b"", NOW), signer


def ours(raw: bytes, signed: Signed, root: bytes | None = None) -> str:
    """What it is refused with here; nothing when it verifies."""
    try:
        Verifiers().verify(*presented(raw, signed.model, root or signed.tiled.trusted_root()))
    except KeyturnError as err:
        return err.code
    return ""


def theirs(raw: bytes, signed: Signed, root: bytes | None = None) -> bool:
    """Whether sigstore-python takes it."""
    trusted = TrustedRoot(TrustedRootMessage.from_json(root or signed.tiled.trusted_root()))
    try:
        Verifier(trusted_root=trusted).verify_dsse(Bundle.from_json(raw), Identity(identity=WHO, issuer=BY))
    except (SigstoreError, ValueError):
        return False
    return True


def test_what_model_signing_signs_by_a_log_in_tiles_is_verified_by_it_and_here(signed: Signed, tmp_path: Path) -> None:
    tiled = replace(signed.tiled, made=PrivateSigstore(lifetime_s=YEARS_S))
    config, raw = tmp_path / "trust.json", tmp_path / "model.sig"
    with served(tiled.made, tiled) as url:
        config.write_bytes(trust_config(tiled.made, url, tiled))
        signer = signing.Config().use_sigstore_signer(identity_token=token(WHO, BY), trust_config=config)  # type: ignore[no-untyped-call]
        signer.sign(signed.model, raw)
    verifying.Config().use_sigstore_verifier(identity=WHO, oidc_issuer=BY, trust_config=config).verify(  # type: ignore[no-untyped-call]
        signed.model, raw
    )
    entry = json.loads(raw.read_bytes())["verificationMaterial"]["tlogEntries"][0]
    assert entry["kindVersion"] == {"kind": "hashedrekord", "version": "0.0.2"}
    assert "integratedTime" not in entry
    root = tiled.trusted_root()
    found = Verifiers().verify(*presented(raw.read_bytes(), signed.model, root))
    assert (found.signer, found.issuer, found.subjects) == (WHO, BY, (str(manifest.make(signed.model).identity),))


def test_a_stamp_with_and_without_its_certificate_and_two_of_them_are_taken(signed: Signed) -> None:
    stamps = signed.tiled.stamps
    assert ours(signed.raw, signed) == ""
    assert theirs(signed.raw, signed)
    for stamped in (
        lambda signature: (stamps.stamp(signature, embedded=True),),
        lambda signature: (stamps.stamp(signature), stamps.stamp(signature, at=NOW + 60)),
    ):
        raw = signed.again(stamped)
        assert (ours(raw, signed), theirs(raw, signed)) == ("", True)


def _material(alter: Callable[[Any], None]) -> Callable[[Any], None]:
    return lambda bundle: alter(bundle["verificationMaterial"])


def _entry(alter: Callable[[Any], None]) -> Callable[[Any], None]:
    return lambda bundle: alter(bundle["verificationMaterial"]["tlogEntries"][0])


def _stamps(value: Any) -> Callable[[Any], None]:
    def alter(material: Any) -> None:
        material["timestampVerificationData"]["rfc3161Timestamps"] = value

    return _material(alter)


@pytest.mark.parametrize(
    ("alter", "code"),
    [
        pytest.param(
            lambda b: b["dsseEnvelope"].update(signatures=b["dsseEnvelope"]["signatures"] * 2),
            "evidence-bundle",
            id="two signatures",
        ),
        pytest.param(
            lambda b: b["dsseEnvelope"]["signatures"][0].update(sig=""), "evidence-bundle", id="an empty signature"
        ),
        pytest.param(_stamps([]), "evidence-time-missing", id="no stamp"),
        pytest.param(
            _material(lambda m: m.pop("timestampVerificationData")), "evidence-time-missing", id="nothing about stamps"
        ),
        pytest.param(_stamps([{"signedTimestamp": "AAAA"}]), "evidence-bundle", id="a stamp that is none"),
        pytest.param(_stamps([{"signedTimestamp": ""}]), "evidence-bundle", id="an empty stamp"),
        pytest.param(_stamps("x"), "evidence-bundle", id="stamps that are text"),
        pytest.param(_material(lambda m: m.pop("tlogEntries")), "evidence-inclusion-missing", id="a stamp, and no log"),
        pytest.param(_material(lambda m: m.update(tlogEntries=[])), "evidence-inclusion-missing", id="no entry"),
        pytest.param(_entry(lambda e: e.pop("inclusionProof")), "evidence-inclusion-missing", id="no proof"),
        pytest.param(_entry(lambda e: e["inclusionProof"].pop("checkpoint")), "evidence-bundle", id="no checkpoint"),
        pytest.param(
            _entry(lambda e: e["inclusionProof"].update(treeSize="99")), "evidence-signature", id="another size"
        ),
        pytest.param(_entry(lambda e: e.update(logIndex="0")), "", id="an index that nothing rests on"),
        pytest.param(
            _entry(lambda e: e["inclusionProof"].update(logIndex=str(2**64))), "evidence-bundle", id="a huge index"
        ),
        pytest.param(
            _entry(lambda e: e["inclusionProof"].update(treeSize="9" * 5000)), "evidence-bundle", id="a huger size"
        ),
        pytest.param(
            _entry(lambda e: e["kindVersion"].update(version="0.0.3")), "evidence-bundle", id="another version"
        ),
        pytest.param(
            _entry(lambda e: e["kindVersion"].update(kind="dsse")), "evidence-signature", id="another kind of entry"
        ),
    ],
)
def test_each_way_to_break_a_bundle_of_a_log_in_tiles_is_refused_by_name_as_sigstore_python_does(
    signed: Signed, alter: Callable[[Any], None], code: str
) -> None:
    raw = changed(signed.raw, alter)
    assert ours(raw, signed) == code
    assert theirs(raw, signed) == (not code)


def test_a_stamp_over_something_else_too_late_or_by_somebody_else_vouches_for_nothing(
    signed: Signed, tmp_path: Path
) -> None:
    stamps, other = signed.tiled.stamps, StampAuthority.make(tmp_path / "other")
    late = NOW + signed.tiled.made.lifetime_s + 1
    cases: tuple[tuple[Callable[[bytes], Sequence[bytes]], str], ...] = (
        (lambda _: (stamps.stamp(b"another signature"),), "evidence-time-missing"),
        (lambda signature: (other.stamp(signature),), "evidence-time-missing"),
        (lambda signature: (other.stamp(signature, embedded=True),), "evidence-time-missing"),
        (lambda signature: (stamps.stamp(signature, at=late),), "evidence-signature"),
        (lambda signature: (stamps.stamp(signature), stamps.stamp(signature, at=late)), "evidence-signature"),
        (lambda signature: (stamps.stamp(signature),) * 2, "evidence-signature"),
    )
    for number, (stamped, code) in enumerate(cases):
        raw = signed.again(stamped)
        assert (number, ours(raw, signed), theirs(raw, signed)) == (number, code, False)


def test_an_authority_whose_certificate_is_over_vouches_for_nothing(signed: Signed, tmp_path: Path) -> None:
    tiled = replace(signed.tiled, stamps=StampAuthority.make(tmp_path / "over", until=NOW - 1))
    raw, root = tiled.sign(signed.payload, identity=WHO, issuer=BY), tiled.trusted_root()
    assert (ours(raw, signed, root), theirs(raw, signed, root)) == ("evidence-time-missing", False)


def root_with(signed: Signed, alter: Callable[[Any], None]) -> bytes:
    return changed(signed.tiled.trusted_root(), alter)


def _until(end: str, *path: str | int) -> Callable[[Any], None]:
    def alter(root: Any) -> None:
        for step in path:
            root = root[step]
        root["validFor"] = {"start": "2023-01-01T00:00:00Z", "end": end}

    return alter


LOG, AUTHORITY, CERTIFICATES = ("tlogs", 1, "publicKey"), ("certificateAuthorities", 0), ("ctlogs", 0, "publicKey")


@pytest.mark.parametrize("path", [LOG, AUTHORITY, CERTIFICATES], ids=["log", "authority", "log of certificates"])
def test_a_key_counts_at_the_time_that_was_stamped_as_the_trusted_root_says(
    signed: Signed, path: tuple[str | int, ...]
) -> None:
    """sigstore-python asks this of timestamp authorities alone: a log that was retired since it was stolen goes on vouching."""
    retired = root_with(signed, _until("2026-09-21T14:13:19Z", *path))
    assert theirs(signed.raw, signed, retired)
    assert ours(signed.raw, signed, retired) == "evidence-signature"
    assert ours(signed.raw, signed, root_with(signed, _until(THEN, *path))) == ""  # the very second


def test_a_timestamp_authority_that_is_retired_or_missing_vouches_for_nothing(signed: Signed) -> None:
    for end, code in (("2026-09-21T14:13:20Z", "evidence-time-missing"), ("2026-09-21T14:13:21Z", "")):
        root = root_with(signed, _until(end, "timestampAuthorities", 0))
        assert (ours(signed.raw, signed, root), theirs(signed.raw, signed, root)) == (code, not code)
    nobody = root_with(signed, lambda root: root.update(timestampAuthorities=[]))
    assert (ours(signed.raw, signed, nobody), theirs(signed.raw, signed, nobody)) == ("evidence-signature", False)


def test_a_retired_log_does_not_count_under_the_name_of_one_that_counts_nor_with_a_time_that_nobody_promised(
    signed: Signed,
) -> None:
    """sigstore-python tries every key of the root when a log's id names none, and a time without a promise is anybody's."""
    thief = replace(signed.tiled, log_key=ed25519.Ed25519PrivateKey.generate(), origin="stolen.private.example")
    entry = thief.trusted_root_json()["tlogs"][1]
    _until("2026-01-01T00:00:00Z", "publicKey")(entry)
    root = root_with(signed, lambda made: made["tlogs"].append(entry))
    stamps, good = signed.tiled.stamps, signed.tiled.log_id

    def as_another(bundle: Any) -> None:
        made = bundle["verificationMaterial"]["tlogEntries"][0]
        note = made["inclusionProof"]["checkpoint"]["envelope"]
        head, signature = note.rstrip("\n").rsplit(" ", 1)
        renamed = base64.b64encode(good[:4] + base64.b64decode(signature)[4:]).decode()
        made["inclusionProof"]["checkpoint"]["envelope"] = f"{head} {renamed}\n"
        made["logId"]["keyId"] = base64.b64encode(good).decode()

    raw = signed.again(lambda signature: (stamps.stamp(signature),), thief)
    for forged in (
        raw,
        changed(raw, as_another),
        changed(raw, _entry(lambda e: e.update(integratedTime=str(NOW - 300 * 86400)))),
    ):
        assert theirs(forged, signed, root)
        assert ours(forged, signed, root) == "evidence-signature"
