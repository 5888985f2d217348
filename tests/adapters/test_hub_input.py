"""A snapshot of huggingface_hub's cache as an input: read through its own links, which stay in the cache."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from keyturn.adapters.inputs.held_inputs import HeldInputs
from keyturn.bulk import manifest
from keyturn.errors import KeyturnError
from keyturn.formats import input_source
from keyturn.formats.provenance import Origin

REVISION = "0123456789abcdef0123456789abcdef01234567"
FILES = {"config.json": b'{"small": true}\n', "onnx/model.onnx": b"small", "model.safetensors": b"\0\xff" * 900_000}


def make_cache(place: Path) -> Path:
    """The cache of acme/tiny as huggingface_hub lays it out; gives the snapshot."""
    repository = place / "models--acme--tiny"
    snapshot = repository / "snapshots" / REVISION
    (repository / "blobs").mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(REVISION)
    for name, content in FILES.items():
        small = len(content) < 1000
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content) if small else hashlib.sha256(content)
        (repository / "blobs" / blob.hexdigest()).write_bytes(content)
        link = snapshot / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(repository / "blobs" / blob.hexdigest(), link.parent))
    return snapshot


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    return make_cache(tmp_path / "hub")


def hold(text: str, base: Path) -> tuple[Origin, Path]:
    into = base / f"held{len(list(base.glob('held*')))}"
    source = input_source.parse(text)
    assert not isinstance(source, input_source.PathSource)
    return HeldInputs(base, Path.resolve, ()).hold(source, into), into


def test_a_snapshot_is_held_with_its_bytes_under_its_names(snapshot: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    for name, content in FILES.items():
        (plain / name).parent.mkdir(parents=True, exist_ok=True)
        (plain / name).write_bytes(content)
    origin, held = hold(str(snapshot), tmp_path)
    assert origin == Origin(f"hf://acme/tiny@{REVISION}"), "the revision is not a commit that was hashed"
    assert manifest.make(held).identity == manifest.make(plain).identity
    assert not any(path.is_symlink() for path in held.rglob("*"))
    origin, held = hold(f"hub/models--acme--tiny/snapshots/{REVISION}/onnx", tmp_path)
    assert (origin.uri, (held / "model.onnx").read_bytes()) == (f"hf://acme/tiny@{REVISION}/onnx", b"small")
    _, held = hold(f"{snapshot}/onnx/model.onnx", tmp_path)
    assert held.read_bytes() == b"small"
    # As it is laid out where there are no links: files in the snapshot itself.
    (snapshot / "config.json").unlink()
    (snapshot / "config.json").write_bytes(FILES["config.json"])
    assert manifest.make(hold(str(snapshot), tmp_path)[1]).identity == manifest.make(plain).identity


def _relink(snapshot: Path, target: str) -> None:
    (snapshot / "config.json").unlink()
    (snapshot / "config.json").symlink_to(target)


def _blob(snapshot: Path) -> Path:
    return (snapshot / "config.json").resolve()


def _link_blob(snapshot: Path) -> None:
    blob = _blob(snapshot)
    blob.unlink()
    blob.symlink_to("/etc/hostname")


def _link_blobs(snapshot: Path) -> None:
    blobs = _blob(snapshot).parent
    blobs.rename(blobs.with_name("elsewhere"))
    blobs.symlink_to("elsewhere")


def _link_directory(snapshot: Path) -> None:
    (snapshot / "more").symlink_to("onnx")


def _fifo(snapshot: Path) -> None:
    os.mkfifo(snapshot / "pipe")


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        pytest.param(lambda s: _relink(s, "/etc/hostname"), "hub-link", id="a link out of the cache"),
        pytest.param(lambda s: _relink(s, "../../../secret"), "hub-link", id="a link above the repository"),
        pytest.param(lambda s: _relink(s, "../../blobs/../../../secret"), "hub-link", id="a link through the blobs"),
        pytest.param(lambda s: _relink(s, "../../blobs/.."), "hub-link", id="a link to what holds the blobs"),
        pytest.param(lambda s: _relink(s, "../../refs/main"), "hub-link", id="a link to what is no blob"),
        pytest.param(_link_directory, "hub-link", id="a link to a directory"),
        pytest.param(lambda s: _relink(s, "../../blobs/gone"), "hub-incomplete", id="a blob that is gone"),
        pytest.param(_link_blob, "hub-incomplete", id="a blob that is a link"),
        pytest.param(_link_blobs, "hub-incomplete", id="blobs that are a link"),
        pytest.param(_fifo, "file-special", id="a pipe"),
        pytest.param(lambda s: _blob(s).write_bytes(b'{"small": false}'), "hub-blob", id="a blob with other bytes"),
        pytest.param(lambda s: s.rename(s.with_name("f" * 40)), "hub-incomplete", id="another revision"),
    ],
)
def test_what_leaves_the_cache_or_is_not_whole_is_refused(
    snapshot: Path, tmp_path: Path, spoil: Callable[[Path], None], code: str
) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "hub" / "secret").write_text("secret")
    spoil(snapshot)
    with pytest.raises(KeyturnError) as refused:
        hold(str(snapshot), tmp_path)
    assert refused.value.code == code
    assert not any(b"secret" in path.read_bytes() for path in tmp_path.glob("held*/**/*") if path.is_file())


def test_huggingface_hub_itself_names_the_snapshot_that_is_held(
    snapshot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from huggingface_hub import snapshot_download

    found = snapshot_download("acme/tiny", cache_dir=tmp_path / "hub", local_files_only=True)
    assert hold(found, tmp_path)[0].uri == f"hf://acme/tiny@{REVISION}"
