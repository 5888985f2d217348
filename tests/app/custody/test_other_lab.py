"""What another lab released is an input: under the first root that our targets list, by a pack that proves this very artifact."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import support.chains
from keyturn.adapters.evidence.verifiers import Verifiers
from keyturn.app.custody.other_lab import require_released
from keyturn.bulk import manifest
from keyturn.custody.outside import nobody_verifies
from keyturn.errors import KeyturnError
from keyturn.formats.digest import ArtifactDigest, sha256
from keyturn.formats.evidence import Presented
from keyturn.formats.provenance import Origin
from keyturn.formats.release import RELEASE
from keyturn.service.builder_service import BuilderService
from keyturn.trust.outside import OutsideSigner
from service.test_builder_service import failed, provenance_of
from support.builders import Place
from support.labs import Lab, make_lab
from support.other_lab import write_release
from support.releases import MODEL, make_release_world


@cache
def _released() -> tuple[Lab, bytes]:
    world = make_release_world()
    world.build()
    return world.world.lab, world.released()


def signer_of(lab: Lab, **changes: object) -> OutsideSigner:
    one = OutsideSigner(
        name="other",
        method="keyturn",
        statements=frozenset({RELEASE}),
        identity=lab.name,
        trusted_root=lab.root_sha256,
    )
    return replace(one, **changes)  # type: ignore[arg-type]


def judge(signer: OutsideSigner | None, pack: bytes, root: bytes, artifact: ArtifactDigest = MODEL) -> Origin:
    listed = {} if signer is None else {signer.name: signer}
    return require_released(artifact, pack=pack, root=root, outside=listed, verify=nobody_verifies)


def test_a_pack_says_whose_release_it_is() -> None:
    lab, pack = _released()
    assert judge(signer_of(lab), pack, lab.root_json) == Origin(
        "keyturn://acme.example/model/aurora", pack=sha256(pack), root=lab.root_sha256
    )


def test_a_lab_that_is_not_listed_a_pack_that_does_not_verify_and_other_files_are_refused() -> None:
    lab, pack = _released()
    other = make_lab(name="other.example")
    broken = pack[:-1] + bytes([pack[-1] ^ 1])
    for signer, raw, root, artifact, code in (
        (None, pack, lab.root_json, MODEL, "pack-other-lab"),
        (signer_of(other), pack, lab.root_json, MODEL, "pack-other-lab"),
        (signer_of(lab, statements=frozenset({"signature"})), pack, lab.root_json, MODEL, "pack-other-lab"),
        (signer_of(lab, identity="third.example"), pack, lab.root_json, MODEL, "pack-other-lab"),
        (signer_of(lab), pack, other.root_json, MODEL, "pack-other-lab"),
        (signer_of(other), pack, other.root_json, MODEL, "pack-refused"),
        (signer_of(lab), broken, lab.root_json, MODEL, "pack-refused"),
        (signer_of(lab), pack, lab.root_json, support.chains.artifact("x"), "pack-other-model"),
    ):
        with pytest.raises(KeyturnError) as refused:
            judge(signer, raw, root, artifact)
        assert refused.value.code == code


@pytest.mark.parametrize("form", ["oms", "dsse", "sigstore-bundle", "cosign-signature"])
def test_a_lab_is_no_evidence_by_itself(form: Any) -> None:
    lab, _ = _released()
    presented = Presented(form, b"{}", MODEL, lab.root_json, b"", 0)
    with pytest.raises(KeyturnError) as refused:
        Verifiers().verify(presented, signer_of(lab))
    assert refused.value.code == "evidence-method"


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Place, Lab]]:
    """A builder whose lab lists another one; beside its work, that lab's released model with pack and root."""
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "a.txt").write_text("their weights\n")
    other, pack = write_release(tmp_path / "theirs", monkeypatch)
    place = Place(tmp_path, make_lab(outside=(signer_of(other),)))
    (tmp_path / "theirs").rename(place.work / "theirs")
    (place.work / "model.pack").write_bytes(pack)
    (place.work / "root.json").write_bytes(other.root_json)
    return place, other


def test_a_step_goes_on_from_what_another_lab_released(theirs: tuple[Place, Lab]) -> None:
    place, other = theirs
    digest = str(manifest.make(place.work / "theirs").identity)
    raw = place.step_file(
        "cat /in/data/a.txt /in/data/a.txt > /out/model", build="finetune", source="theirs", digest=digest
    )
    raw = raw.replace(b'mount = "/in/data"', b'mount = "/in/data"\npack = "model.pack"\nroot = "root.json"')
    service = BuilderService(place.parts())
    service.start()
    state = service.state(service.order(place.order(raw)).job, wait_s=60)
    taken = next(d for d in provenance_of(place, state).dependencies if d.name == "data")
    pack = (place.work / "model.pack").read_bytes()
    assert taken.origin == Origin("keyturn://acme.example/model/aurora", pack=sha256(pack), root=other.root_sha256)

    entries = len(place.log._leaves)
    elsewhere = {"destination": str(place.work / "more")}
    for change, code in (
        (lambda: (place.work / "model.pack").write_bytes(pack[:-9]), "pack-refused"),
        (lambda: (place.work / "root.json").write_bytes(make_lab(name="third.example").root_json), "pack-other-lab"),
        ((place.work / "root.json").unlink, "file-missing"),
    ):
        change()
        failed(service.state(service.order(place.order(raw, **elsewhere)).job, wait_s=60), code)
    assert len(place.log._leaves) == entries
    assert not (place.work / "more").exists()
    service.stop()
