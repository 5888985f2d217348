"""An image of an OCI layout as an input: every blob compared with its digest, and nothing of what lies beside it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapters.test_hub_input import REVISION, make_cache
from keyturn.adapters.files.allowed_places import Allowed
from keyturn.adapters.inputs.held_inputs import HeldInputs
from keyturn.bulk import manifest
from keyturn.errors import KeyturnError
from keyturn.formats import input_source
from keyturn.formats.oci_image import MANIFEST_BYTES_MAX
from keyturn.formats.provenance import Origin

LAYER = b"\0layer\xff" * 400_000


def put(layout: Path, content: bytes | dict[str, Any], kind: str, **more: Any) -> dict[str, Any]:
    """Keep `content` as a blob of `layout`; gives its descriptor."""
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    digest = hashlib.sha256(raw).hexdigest()
    (layout / "blobs" / "sha256" / digest).write_bytes(raw)
    media_type = f"application/vnd.oci.image.{kind}"
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(raw), **more}


def put_image(layout: Path, *layers: bytes, **more: Any) -> dict[str, Any]:
    image = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": put(layout, b"{}", "config.v1+json"),
        "layers": [put(layout, layer, "layer.v1.tar") for layer in layers],
    }
    return put(layout, image, "manifest.v1+json", **more)


def make_layout(layout: Path) -> tuple[str, str]:
    """A layout with an image called `v1`, and an index of it and another; gives the digests of image and index."""
    (layout / "blobs" / "sha256").mkdir(parents=True)
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    image = put_image(layout, LAYER, b"small", LAYER, platform={"os": "linux", "architecture": "amd64"})
    arm = put_image(layout, b"arm", platform={"os": "linux", "architecture": "arm64", "variant": "v8"})
    again = put_image(layout, b"again", platform={"os": "linux", "architecture": "riscv64"})
    other = put_image(layout, b"other", platform={"os": "linux", "architecture": "riscv64"})
    nested = put(layout, {"schemaVersion": 2, "manifests": []}, "index.v1+json")
    nested["platform"] = {"os": "windows", "architecture": "amd64"}
    images = [image, arm, again, other, nested]
    index = put(layout, {"schemaVersion": 2, "manifests": images}, "index.v1+json")
    named = {"annotations": {"org.opencontainers.image.ref.name": "v1"}}
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [{**image, **named}, index]}))
    return image["digest"], index["digest"]


@pytest.fixture
def layout(tmp_path: Path) -> tuple[Path, str, str]:
    return (tmp_path / "image", *make_layout(tmp_path / "image"))


def hold(text: str, base: Path) -> tuple[Origin, Path, list[tuple[int, int]]]:
    into = base / f"held{len(list(base.glob('held*')))}"
    source = input_source.parse(text)
    assert not isinstance(source, input_source.PathSource)
    seen: list[tuple[int, int]] = []
    origin = HeldInputs(base, Path.resolve, ()).hold(source, into, progress=lambda *now: seen.append(now))
    return origin, into, seen


def test_an_image_is_held_as_a_layout_of_itself_alone(layout: tuple[Path, str, str], tmp_path: Path) -> None:
    place, image, index = layout
    origin, held, seen = hold(f"oci:image@{image}", tmp_path)
    assert origin == Origin(f"oci:image@{image}", oci_manifest=image.removeprefix("sha256:"))
    assert seen[-1] == (len(LAYER) + len(b"small{}"),) * 2
    blobs = {path.name: path.read_bytes() for path in (held / "blobs" / "sha256").iterdir()}
    assert len(blobs) == 4
    assert all(hashlib.sha256(content).hexdigest() == name for name, content in blobs.items())
    assert sorted(path.name for path in held.iterdir()) == ["blobs", "index.json", "oci-layout"]
    assert [one["digest"] for one in json.loads((held / "index.json").read_bytes())["manifests"]] == [image]
    # The same image is the same artifact: through an index, or from a layout with less beside it.
    found = manifest.make(held).identity
    origin, through, _ = hold(f"oci:{place}@{index}#platform=linux/amd64", tmp_path)
    assert manifest.make(through).identity == found
    assert origin == Origin(f"oci:{place}@{index}#platform=linux/amd64", oci_manifest=image.removeprefix("sha256:"))
    assert manifest.make(hold(f"oci:{held}@{image}", tmp_path)[1]).identity == found
    _, arm, _ = hold(f"oci:image@{index}#platform=linux/arm64/v8", tmp_path)
    assert hashlib.sha256(b"arm").hexdigest() in {path.name for path in (arm / "blobs" / "sha256").iterdir()}


@pytest.mark.parametrize(
    ("which", "behind", "code", "says"),
    [
        pytest.param("index", "", "oci-platform", "no platform is named: it has 'linux/amd64', ", id="an index alone"),
        pytest.param("index", "#platform=linux/s390x", "oci-platform", "0 are for", id="a platform it lacks"),
        pytest.param("index", "#platform=linux/arm64", "oci-platform", "0 are for", id="a variant it does not say"),
        pytest.param("index", "#platform=linux/riscv64", "oci-platform", "2 are for", id="two for one platform"),
        pytest.param("index", "#platform=windows/amd64", "oci-nested", "another index", id="an index in an index"),
        pytest.param("image", "#platform=linux/amd64", "oci-platform", "is an image", id="an image's platform"),
    ],
)
def test_an_index_is_followed_to_one_named_platform_only(
    layout: tuple[Path, str, str], tmp_path: Path, which: str, behind: str, code: str, says: str
) -> None:
    digest = layout[1] if which == "image" else layout[2]
    with pytest.raises(KeyturnError) as refused:
        hold(f"oci:image@{digest}{behind}", tmp_path)
    assert refused.value.code == code
    assert says in str(refused.value)


@pytest.mark.parametrize("kind", ["image", "snapshot"])
def test_a_name_that_leads_elsewhere_once_it_was_looked_at_is_refused(tmp_path: Path, kind: str) -> None:
    for place in (tmp_path / "work" / "mine", tmp_path / "private"):
        image, _ = make_layout(place / "image")
        make_cache(place)
    allowed = Allowed(work=(tmp_path / "work",), runtime=(), private=())

    def check(path: Path) -> Path:
        real = allowed.check(path, what="input", roots=allowed.work)
        if (tmp_path / "private").exists():  # the member has waited for this moment
            (tmp_path / "work" / "mine").rename(tmp_path / "work" / "was")
            (tmp_path / "private").rename(tmp_path / "taken")
            (tmp_path / "work" / "mine").symlink_to(tmp_path / "taken")
        return real

    source = input_source.parse(
        f"oci:mine/image@{image}" if kind == "image" else f"mine/models--acme--tiny/snapshots/{REVISION}"
    )
    assert not isinstance(source, input_source.PathSource)
    with pytest.raises(KeyturnError) as refused:
        HeldInputs(tmp_path / "work", check, ()).hold(source, tmp_path / "held")
    assert refused.value.code == "path-not-allowed"
    assert not (tmp_path / "held").exists()


def _blob(place: Path, content: bytes) -> Path:
    return place / "blobs" / "sha256" / hashlib.sha256(content).hexdigest()


def _replace(path: Path, make: Callable[[Path], Any]) -> None:
    path.unlink()
    make(path)


def _manifest(place: Path, image: str) -> Path:
    return place / "blobs" / "sha256" / image.removeprefix("sha256:")


def _link_directory(place: Path) -> None:
    (place / "blobs" / "sha256").rename(place / "elsewhere")
    (place / "blobs" / "sha256").symlink_to("../elsewhere")


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        pytest.param(lambda p, i: _blob(p, b"small").write_bytes(b"small!"), "oci-blob", id="a blob of another size"),
        pytest.param(lambda p, i: _blob(p, b"small").write_bytes(b"smell"), "oci-blob", id="a blob with other bytes"),
        pytest.param(lambda p, i: _blob(p, b"{}").write_bytes(b"[]"), "oci-blob", id="another configuration"),
        pytest.param(lambda p, i: _blob(p, LAYER).unlink(), "oci-incomplete", id="a blob that is gone"),
        pytest.param(
            lambda p, i: _replace(_blob(p, b"small"), lambda b: b.symlink_to("/etc/hostname")),
            "oci-incomplete",
            id="a blob that is a link",
        ),
        pytest.param(lambda p, i: _replace(_blob(p, b"small"), os.mkfifo), "file-special", id="a blob that is a pipe"),
        pytest.param(lambda p, i: _replace(_blob(p, b"small"), Path.mkdir), "file-special", id="a blob that is none"),
        pytest.param(lambda p, i: _link_directory(p), "oci-incomplete", id="blobs that are a link"),
        pytest.param(lambda p, i: _manifest(p, i).write_bytes(b"{}"), "oci-blob", id="another manifest"),
        pytest.param(lambda p, i: _manifest(p, i).unlink(), "oci-incomplete", id="no manifest"),
        pytest.param(
            lambda p, i: os.truncate(_manifest(p, i), MANIFEST_BYTES_MAX + 1), "oci-manifest", id="a huge manifest"
        ),
        pytest.param(lambda p, i: (p / "oci-layout").unlink(), "oci-incomplete", id="no layout"),
        pytest.param(
            lambda p, i: (p / "oci-layout").write_text('{"imageLayoutVersion":"2"}'), "oci-layout", id="a new layout"
        ),
    ],
)
def test_a_layout_with_other_bytes_is_refused(
    layout: tuple[Path, str, str], tmp_path: Path, spoil: Callable[[Path, str], Any], code: str
) -> None:
    place, image, _ = layout
    spoil(place, image)
    with pytest.raises(KeyturnError) as refused:
        hold(f"oci:image@{image}", tmp_path)
    assert refused.value.code == code
    assert not any("hostname" in path.name for path in tmp_path.glob("held*/**/*"))


def test_what_is_no_manifest_or_says_another_size_is_refused_by_its_digest(
    layout: tuple[Path, str, str], tmp_path: Path
) -> None:
    with pytest.raises(KeyturnError) as refused:
        hold(f"oci:image@sha256:{hashlib.sha256(b'small').hexdigest()}", tmp_path)
    assert refused.value.code == "oci-manifest"
    size = json.loads(_manifest(layout[0], layout[2]).read_bytes())
    size["manifests"][0]["size"] += 1
    index = put(layout[0], size, "index.v1+json")["digest"]
    with pytest.raises(KeyturnError) as refused:
        hold(f"oci:image@{index}#platform=linux/amd64", tmp_path)
    assert refused.value.code == "oci-blob"
    image = json.loads(_manifest(layout[0], layout[1]).read_bytes())
    image["layers"][1]["size"] += 1
    with pytest.raises(KeyturnError) as refused:
        hold(f"oci:image@{put(layout[0], image, 'manifest.v1+json')['digest']}", tmp_path)
    assert refused.value.code == "oci-blob"
    assert "has 5 bytes, and its manifest says 6" in str(refused.value)
