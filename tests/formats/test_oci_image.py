"""What a manifest of an OCI image binds: its blobs by size and digest, in one reading only."""

from __future__ import annotations

import json
from typing import Any

import pytest

from keyturn.errors import Malformed
from keyturn.formats import oci_image
from keyturn.formats.digest import Sha256, sha256
from keyturn.formats.oci_image import Descriptor, ImageIndex, ImageManifest, Platform, parse

A, B = "a" * 64, "b" * 64
CONFIG = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": f"sha256:{A}", "size": 2}
LAYER = {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": f"sha256:{B}", "size": 9, "urls": ["x"]}
ARM = {"os": "linux", "architecture": "arm64", "variant": "v8", "os.features": ["x"]}
IMAGE = {"schemaVersion": 2, "config": CONFIG, "layers": [LAYER, LAYER], "annotations": {"a": "b"}}
INDEX = {"schemaVersion": 2, "manifests": [{**LAYER, "platform": ARM}, CONFIG]}
DOCKER = "application/vnd.docker.distribution.manifest"


def read(value: dict[str, Any]) -> ImageManifest | ImageIndex:
    return parse(json.dumps(value).encode())


def test_a_manifest_names_each_blob_once_and_an_index_what_is_for_which_platform() -> None:
    blobs = (Descriptor(Sha256(A), 2), Descriptor(Sha256(B), 9))
    assert read(IMAGE) == ImageManifest("application/vnd.oci.image.manifest.v1+json", blobs)
    assert read({**IMAGE, "mediaType": f"{DOCKER}.v2+json"}) == ImageManifest(f"{DOCKER}.v2+json", blobs)
    index = ImageIndex((Descriptor(Sha256(B), 9, Platform("linux", "arm64", "v8")), blobs[0]))
    assert read(INDEX) == read({**INDEX, "mediaType": f"{DOCKER}.list.v2+json"}) == index
    assert str(index.images[0].platform) == "linux/arm64/v8"
    assert oci_image.parse_platform("linux/arm64/v8") == index.images[0].platform
    oci_image.parse_layout(oci_image.LAYOUT)


def test_the_index_that_is_written_leads_to_the_image() -> None:
    raw = json.dumps(IMAGE).encode()
    written = oci_image.render_index(Descriptor(sha256(raw), len(raw)), f"{DOCKER}.v2+json")
    assert parse(written) == ImageIndex((Descriptor(sha256(raw), len(raw)),))


@pytest.mark.parametrize(
    ("value", "code"),
    [
        pytest.param({**IMAGE, **INDEX}, "oci-manifest", id="an image that is an index as well"),
        pytest.param({**INDEX, "layers": []}, "oci-manifest", id="an index with layers"),
        pytest.param({**INDEX, "config": CONFIG}, "oci-manifest", id="an index with a configuration"),
        pytest.param({**IMAGE, "mediaType": f"{DOCKER}.list.v2+json"}, "oci-manifest", id="an image called an index"),
        pytest.param({**INDEX, "mediaType": f"{DOCKER}.v2+json"}, "oci-manifest", id="an index called an image"),
        pytest.param({"schemaVersion": 2, "config": CONFIG}, "oci-manifest", id="no layers"),
        pytest.param({**IMAGE, "schemaVersion": 1}, "oci-manifest", id="an image of the first schema"),
        pytest.param({**INDEX, "schemaVersion": 1}, "oci-manifest", id="an index of the first schema"),
        pytest.param({**IMAGE, "layers": [LAYER, {**LAYER, "size": 8}]}, "oci-manifest", id="a blob with two sizes"),
        pytest.param({**IMAGE, "layers": [{**LAYER, "size": -1}]}, "oci-manifest", id="a negative size"),
        pytest.param({**IMAGE, "layers": [LAYER] * 4097}, "oci-manifest", id="layers without an end"),
        pytest.param({**IMAGE, "x": "x" * (4 << 20)}, "oci-manifest", id="a text without an end"),
        pytest.param({**IMAGE, "config": {**CONFIG, "digest": f"sha512:{A}{A}"}}, "oci-digest", id="another hash"),
        pytest.param({**IMAGE, "config": {**CONFIG, "digest": f"sha256:{A}\n"}}, "oci-digest", id="a line more"),
        pytest.param({**IMAGE, "config": {**CONFIG, "digest": "sha256:../../x"}}, "oci-digest", id="a path"),
    ],
)
def test_what_binds_two_things_or_none_is_refused(value: dict[str, Any], code: str) -> None:
    with pytest.raises(Malformed) as refused:
        read(value)
    assert refused.value.code == code


@pytest.mark.parametrize("raw", [b"", b"{}", b'{"imageLayoutVersion":"2.0.0"}', b"\xff"])
def test_a_layout_of_another_version_is_refused(raw: bytes) -> None:
    with pytest.raises(Malformed) as refused:
        oci_image.parse_layout(raw)
    assert refused.value.code == "oci-layout"


@pytest.mark.parametrize("text", ["linux", "linux/", "Linux/amd64", "linux/amd64/v1/x", "linux/amd64\n", "../x"])
def test_what_is_no_platform_is_refused(text: str) -> None:
    with pytest.raises(Malformed) as refused:
        oci_image.parse_platform(text)
    assert refused.value.code == "input-source"
