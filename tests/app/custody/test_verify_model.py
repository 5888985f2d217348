"""The released files verify under a pack, and every other set of files is refused, by the name of each file."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from keyturn.app.custody.verify_model import verify_model
from keyturn.app.custody.verify_pack import VerifiedPack, verify_pack
from keyturn.bulk import manifest
from keyturn.errors import KeyturnError, Refused
from keyturn.formats import manifest as manifest_format
from keyturn.formats.manifest import Manifest
from support.chains import artifact
from support.labs import Lab
from support.packs import codes, forged
from support.releases import make_release_world


@pytest.fixture
def model(tmp_path: Path) -> Path:
    place = tmp_path / "model"
    place.mkdir()
    (place / "weights.safetensors").write_bytes(bytes(4096))
    (place / "config.json").write_text("{}")
    return place


def released_raw(model: Manifest, *, path: str | None = None, gate_saw: Manifest | None = None) -> tuple[Lab, bytes]:
    """A real pack of `model`; with a `path`, of files that the gate hashed, and as which it saw `gate_saw`."""
    made = make_release_world()
    identity = model.identity
    made.hashed = lambda _path: gate_saw or model
    made.chain.ingest()
    _, criteria = made.chain.criteria((artifact("held-out"),))
    made.chain.step("train", {"data": artifact("data"), "code": artifact("code")}, {"model": identity})
    made.chain.evaluate(identity, criteria)
    made.sync()
    asked = made.ask(index=made.compute_index(model=identity))
    given = [made.world.approve(asked, approver) for approver in ("bob", "cat")]
    return made.world.lab, made.gate().release(made.order(asked, *given, path=path))


def released(model: Manifest, *, path: str | None = None, gate_saw: Manifest | None = None) -> VerifiedPack:
    lab, raw = released_raw(model, path=path, gate_saw=gate_saw)
    return verify_pack(raw, root_json=lab.root_json, pinned_sha256=lab.root_sha256)


def compare(path: Path, verified: VerifiedPack, *, fast: bool) -> None:
    verify_model(path, verified.model, signed=verified.verdict.files, fast=fast)


@pytest.mark.parametrize(
    ("path", "fast"),
    [
        pytest.param(None, False, id="by the digest that was released"),
        pytest.param("/srv/model", False, id="with a manifest, by SHA-256"),
        pytest.param("/srv/model", True, id="by the manifest's BLAKE3"),
    ],
)
def test_the_released_files_verify_and_every_other_set_of_files_is_refused(
    model: Path, path: str | None, fast: bool
) -> None:
    verified = released(manifest.make(model), path=path)

    def refused() -> str:
        with pytest.raises(Refused) as caught:
            compare(model, verified, fast=fast)
        assert caught.value.code == "model-other-files"
        return "; ".join(message for _, message in caught.value.reasons)

    compare(model, verified, fast=fast)
    weights = model / "weights.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    assert "'weights.safetensors' has another content" in refused() or path is None
    weights.write_bytes(whole[:-1])
    assert "'weights.safetensors' has 4095 bytes in place of 4096" in refused() or path is None
    weights.write_bytes(whole)
    for number in range(22):
        (model / f"extra-{number:02}.py").write_text("")
    assert "'extra-00.py' is extra" in (said := refused()) or path is None
    assert said.endswith("and 2 more") or path is None
    for number in range(22):
        (model / f"extra-{number:02}.py").unlink()
    (model / "config.json").rename(model / "konfig.json")
    assert "'config.json' is missing; 'konfig.json' is extra" in refused() or path is None
    (model / "konfig.json").rename(model / "config.json")
    compare(model, verified, fast=fast)


def test_without_a_manifest_nothing_is_compared_fast(model: Path) -> None:
    with pytest.raises(Refused, match="pack-no-manifest"):
        compare(model, released(manifest.make(model)), fast=True)


def test_a_manifest_is_of_the_very_model_and_its_blake3s_are_the_gates_word(model: Path) -> None:
    true = manifest.make(model)
    lab, raw = released_raw(true, path="/srv/model")
    other = msgspec.structs.replace(
        true, files=(msgspec.structs.replace(true.files[0], sha256="0" * 64), *true.files[1:])
    )
    put = lambda made: lambda members: members.update({"files.json": manifest_format.render(made)})  # noqa: E731
    assert codes(forged(raw, lab, put(other)), lab) == {"pack-other-files"}
    assert codes(forged(raw, lab, lambda members: members.update({"files.json": b"{}"})), lab) == {"json-invalid"}
    # What whoever has the gate's key can do, and why `fast` is nobody's default.
    lies = msgspec.structs.replace(
        true, files=(msgspec.structs.replace(true.files[0], blake3="0" * 64), *true.files[1:])
    )
    lied = verify_pack(forged(raw, lab, put(lies)), root_json=lab.root_json, pinned_sha256=lab.root_sha256)
    compare(model, lied, fast=False)
    with pytest.raises(Refused, match="model-other-files"):
        compare(model, lied, fast=True)


def test_a_released_file_may_have_any_name_and_a_directory_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"weights")
    verified = released(manifest.make(tmp_path / "one"), path="/srv/one")
    (tmp_path / "one").rename(tmp_path / "two")
    for fast in (False, True):
        compare(tmp_path / "two", verified, fast=fast)
        with pytest.raises(Refused, match="it is a directory, and the model is a file"):
            compare(tmp_path, verified, fast=fast)


def test_by_a_manifest_each_file_that_is_not_as_released_is_named(model: Path) -> None:
    for number in range(4):
        (model / f"shard-{number}").write_bytes(b"%d" % number)
    listed = manifest.make(model)
    (model / "shard-0").write_bytes(b"flipped")
    (model / "shard-1").unlink()
    (model / "more").write_bytes(b"")

    def reasons(by: Manifest | None) -> tuple[str, ...]:
        with pytest.raises(Refused, match="model-other-files") as caught:
            verify_model(model, listed.identity, listed=by)
        return tuple(message for _, message in caught.value.reasons)

    assert reasons(listed) == (
        "'shard-1' is missing",
        "'more' is extra",
        "'shard-0' has 7 bytes in place of 1",
    )
    assert "names none" in reasons(manifest.make(model))[0], "a manifest of something else is none of it"
    assert len(reasons(None)) == 1


def test_links_in_a_model_are_refused(model: Path) -> None:
    verified = released(manifest.make(model), path="/srv/model")
    (model / "link").symlink_to("/etc/passwd")
    for fast in (False, True):
        with pytest.raises(KeyturnError):
            compare(model, verified, fast=fast)
