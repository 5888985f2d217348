"""A manifest has the BLAKE3s that a model signature names, other ones, or nothing that can be compared."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from keyturn.custody.files_signed import has_signed_files, held_against
from keyturn.custody.outside import Outside
from keyturn.errors import KeyturnError
from keyturn.formats import outside_statement
from keyturn.formats.digest import Sha256, sha256
from keyturn.formats.evidence import Evidence, Found
from keyturn.formats.manifest import Manifest, ManifestFile
from keyturn.formats.outside_statement import OMS
from keyturn.trust.outside import OutsideSigner

SIGNER = OutsideSigner(name="vendor", method="key", statements=frozenset({OMS}), public=b"x")
FILE = ManifestFile(path="weights", size=1, sha256="11" * 32, blake3="22" * 32)


def signed(*resources: tuple[str, str, str], method: str = "files") -> Outside:
    said = {
        "predicateType": OMS,
        "predicate": {
            "serialization": {"method": method},
            "resources": [{"name": n, "algorithm": a, "digest": d} for n, a, d in resources],
        },
    }
    payload = base64.b64encode(json.dumps(said).encode()).decode()
    raw = json.dumps({"dsseEnvelope": {"payload": payload}}).encode()
    made = Evidence(
        lab="acme.example",
        nonce="0" * 32,
        member="ada",
        key="ab" * 32,
        artifact=str(Manifest(kind="directory", files=(FILE,)).identity),
        outside="vendor",
        format="oms",
        original=raw,
        digest=sha256(raw),
        found=Found(signer="key:x", statement=OMS),
        bound="files",
        trust_version=1,
        signed_at=1,
    )
    return Outside(7, Sha256("00" * 32), made, raw, SIGNER)


MINE = ("weights", "blake3", FILE.blake3)


@pytest.mark.parametrize(
    ("resources", "more", "found"),
    [
        pytest.param([MINE], {}, True, id="the same"),
        pytest.param([(".", "blake3", FILE.blake3)], {"kind": "file"}, True, id="one file"),
        pytest.param(
            [("weights", "sha256", FILE.sha256)], {}, False, id="SHA-256s, by which evidence is bound otherwise"
        ),
        pytest.param([MINE, ("b", "blake2b", "33" * 32)], {}, False, id="digests of two kinds"),
        pytest.param([("weights:0:1", "blake3", FILE.blake3)], {"method": "shards"}, False, id="shards"),
    ],
)
def test_a_manifest_says_whether_its_files_were_signed(
    resources: list[tuple[str, str, str]], more: dict[str, Any], found: bool
) -> None:
    files = Manifest(kind=more.pop("kind", "directory"), files=(FILE,))
    assert has_signed_files(signed(*resources, **more), files) is found


@pytest.mark.parametrize(
    "resources",
    [
        pytest.param([("weights", "blake3", "33" * 32)], id="other bytes"),
        pytest.param([("weight", "blake3", FILE.blake3)], id="another name"),
        pytest.param([MINE, ("more", "blake3", "33" * 32)], id="a file more"),
    ],
)
def test_a_manifest_of_other_files_than_were_signed_is_refused(resources: list[tuple[str, str, str]]) -> None:
    with pytest.raises(KeyturnError) as caught:
        has_signed_files(signed(*resources), Manifest(kind="directory", files=(FILE,)))
    assert caught.value.code == "evidence-other-subject"


def test_a_file_that_was_not_signed_is_refused() -> None:
    more = ManifestFile(path="more", size=1, sha256="11" * 32, blake3="33" * 32)
    with pytest.raises(KeyturnError) as caught:
        has_signed_files(signed(MINE), Manifest(kind="directory", files=(more, FILE)))
    assert caught.value.code == "evidence-other-subject"


def test_evidence_that_names_the_artifact_or_is_about_another_is_held_against_nothing() -> None:
    files, wrong = Manifest(kind="directory", files=(FILE,)), signed(("weights", "blake3", "33" * 32))
    assert held_against(files, (signed(MINE),)) == ((Sha256("00" * 32),), ())
    assert [(one.index, one.code) for one in held_against(files, (wrong,))[1]] == [(7, "evidence-other-subject")]
    shards = signed(("weights:0:1", "blake3", FILE.blake3), method="shards")
    assert held_against(files, (shards,)) == ((), ())
    named = structs.replace(
        wrong.evidence, bound="digest", found=Found(signer="x", statement=OMS, subjects=(str(files.identity),))
    )
    about = structs.replace(wrong.evidence, artifact="sha256:" + "44" * 32)
    assert held_against(files, (replace(wrong, evidence=named), replace(wrong, evidence=about))) == ((), ())


@pytest.mark.parametrize("raw", [b"{", b"[]", b"{}", b'{"dsseEnvelope":{"payload":"x"}}', b"[" * 5000])
def test_what_is_no_bundle_has_no_statement(raw: bytes) -> None:
    with pytest.raises(KeyturnError) as caught:
        outside_statement.bundled(raw)
    assert caught.value.code == "evidence-bundle"
