"""What a `source` names: one content, by the words of those who keep it; whatever may move is refused, with what to type."""

from __future__ import annotations

import pytest

from keyturn.errors import Malformed
from keyturn.formats.digest import Sha256
from keyturn.formats.input_source import (
    GitCommitSource,
    HubSnapshot,
    OciImage,
    OciRegistryImage,
    PathSource,
    S3Prefix,
    Source,
    parse,
)
from keyturn.formats.oci_image import Platform

COMMIT = "0123456789abcdef0123456789abcdef01234567"
DIGEST = "d" * 64
SNAPSHOT = f"models--acme--tiny/snapshots/{COMMIT}"


@pytest.mark.parametrize(
    ("text", "source", "uri"),
    [
        pytest.param("../data", PathSource("../data"), "", id="a path"),
        pytest.param(
            "models--acme--tiny/snapshots/main", PathSource("models--acme--tiny/snapshots/main"), "", id="no hub"
        ),
        pytest.param(
            f"git+https://git.example:8443/a/b.git@{COMMIT}",
            GitCommitSource("https://git.example:8443/a/b.git", local=False, commit=COMMIT),
            f"git+https://git.example:8443/a/b.git@{COMMIT}",
            id="a commit over https",
        ),
        pytest.param(
            f"git+https://git.example/b@{'a' * 64}#subdirectory=/src/é/",
            GitCommitSource("https://git.example/b", local=False, commit="a" * 64, part="src/é"),
            f"git+https://git.example/b@{'a' * 64}#subdirectory=src/%C3%A9",
            id="a directory of a commit that is named by SHA-256",
        ),
        pytest.param(
            f"git+file:../my train@{COMMIT}",
            GitCommitSource("../my train", local=True, commit=COMMIT),
            f"git+file:../my%20train@{COMMIT}",
            id="a repository beside the file",
        ),
        pytest.param(
            f"git+file:///srv/a@b@{COMMIT}",
            GitCommitSource("/srv/a@b", local=True, commit=COMMIT),
            f"git+file:/srv/a@b@{COMMIT}",
            id="a repository of the machine",
        ),
        pytest.param(
            f"/hub/{SNAPSHOT}/",
            HubSnapshot("/hub/models--acme--tiny", "model", "acme/tiny", COMMIT),
            f"hf://acme/tiny@{COMMIT}",
            id="a snapshot of a hub's cache",
        ),
        pytest.param(
            f"datasets--text/snapshots/{COMMIT}/train/é.txt",
            HubSnapshot("datasets--text", "dataset", "text", COMMIT, "train/é.txt"),
            f"hf://datasets/text@{COMMIT}/train/%C3%A9.txt",
            id="a file of a data set's snapshot",
        ),
        pytest.param(
            f"oci:../my image@sha256:{DIGEST}",
            OciImage("../my image", Sha256(DIGEST)),
            f"oci:../my%20image@sha256:{DIGEST}",
            id="an image of a layout",
        ),
        pytest.param(
            f"oci:/a@b@sha256:{DIGEST}#platform=linux/arm64/v8",
            OciImage("/a@b", Sha256(DIGEST), Platform("linux", "arm64", "v8")),
            f"oci:/a@b@sha256:{DIGEST}#platform=linux/arm64/v8",
            id="an image for a platform",
        ),
        pytest.param(
            f"oci://localhost:5000/a__b/c-d.e@sha256:{DIGEST}#platform=linux/amd64",
            OciRegistryImage("localhost:5000", "a__b/c-d.e", Sha256(DIGEST), Platform("linux", "amd64")),
            f"oci://localhost:5000/a__b/c-d.e@sha256:{DIGEST}#platform=linux/amd64",
            id="an image of a registry",
        ),
        pytest.param(
            f"oci://[::1]/a@sha256:{DIGEST}",
            OciRegistryImage("[::1]", "a", Sha256(DIGEST)),
            f"oci://[::1]/a@sha256:{DIGEST}",
            id="a registry by its address",
        ),
        pytest.param(
            "s3://data/a b/é%41/", S3Prefix("data", "a b/é%41"), "s3://data/a%20b/%C3%A9%2541/", id="a prefix"
        ),
        pytest.param("s3://my.data/", S3Prefix("my.data", ""), "s3://my.data/", id="a whole bucket"),
    ],
)
def test_a_source_names_one_content(text: str, source: Source, uri: str) -> None:
    assert parse(text) == source
    assert parse(text).uri == uri


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        pytest.param(
            "git+https://git.example/b@main", "input-unpinned", "git ls-remote https://git.example/b main", id="branch"
        ),
        pytest.param(
            "git+https://git.example/b", "input-unpinned", "git ls-remote https://git.example/b HEAD", id="no commit"
        ),
        pytest.param("git+file:../b@v1", "input-unpinned", "git -C ../b rev-parse v1", id="a tag"),
        pytest.param("git+file:../b", "input-unpinned", "git -C ../b rev-parse HEAD", id="a repository alone"),
        pytest.param(f"git+file:../b@{COMMIT[:12]}", "input-unpinned", "rev-parse", id="a short id"),
        pytest.param(f"git+https://ada:pw@git.example/b@{COMMIT}", "input-source", "git+file:", id="a password"),
        pytest.param(f"git+ssh://git.example/b@{COMMIT}", "input-source", "git+file:", id="ssh"),
        pytest.param(f"git+https://git.example/a/../b@{COMMIT}", "input-source", "git+file:", id="dots"),
        pytest.param(f"git+https://git.example/a/%2E%2e/b@{COMMIT}", "input-source", "git+file:", id="hidden dots"),
        pytest.param(f"git+https://git.example/a%20b@{COMMIT}", "input-source", "git+file:", id="an escape"),
        pytest.param(f"git+https://git.example/a?b=@{COMMIT}", "input-source", "git+file:", id="a query"),
        pytest.param(f"git+file:../b@{COMMIT}#egg=x", "input-source", "", id="an unknown fragment"),
        pytest.param(f"git+file:../b@{COMMIT}#subdirectory=../c", "path-invalid", "", id="a directory outside"),
        pytest.param(f"{SNAPSHOT}/../../blobs/x", "path-invalid", "", id="a part outside the snapshot"),
        pytest.param("a" * 2049, "input-source", "", id="a text without an end"),
        pytest.param("git+file:\x1b[31m", "input-source", "", id="a terminal escape"),
        pytest.param(
            "oci:../image:v1", "input-unpinned", "inspect --format '{{.Digest}}' oci:../image:v1`", id="skopeo's tag"
        ),
        pytest.param("oci:../image@v1", "input-unpinned", "oci:../image:v1`", id="a tag of an image"),
        pytest.param(f"oci:@sha256:{DIGEST}", "input-unpinned", "", id="an image of no layout"),
        pytest.param(f"oci:../image@sha512:{DIGEST}", "input-unpinned", "", id="an image by another hash"),
        pytest.param(f"oci:../image@sha256:{DIGEST[:-1]}", "input-unpinned", "", id="a short digest"),
        pytest.param(f"oci:../image@sha256:{DIGEST}#linux", "input-source", "", id="an unknown fragment of an image"),
        pytest.param(f"oci:../image@sha256:{DIGEST}#platform=x", "input-source", "", id="no platform"),
        pytest.param("oci://ghcr.io/a/b:v1", "input-unpinned", "docker://ghcr.io/a/b:v1", id="a tag of a registry"),
        pytest.param("oci://ghcr.io/a/b", "input-unpinned", "docker://ghcr.io/a/b", id="a repository"),
        pytest.param(f"oci://ghcr.io/a@sha512:{DIGEST}", "input-unpinned", "", id="another digest in a registry"),
        pytest.param(f"oci://ghcr.io/a/b:v1@sha256:{DIGEST}", "input-source", "", id="a tag and a digest"),
        pytest.param(f"oci://ada:pw@ghcr.io/a@sha256:{DIGEST}", "input-source", "", id="a registry's password"),
        pytest.param(f"oci://ghcr.io/A/b@sha256:{DIGEST}", "input-source", "", id="capitals in a repository"),
        pytest.param(f"oci://ghcr.io/a/../b@sha256:{DIGEST}", "input-source", "", id="a repository that climbs"),
        pytest.param(f"oci://ghcr.io@sha256:{DIGEST}", "input-source", "", id="a registry alone"),
        pytest.param(f"oci://ghcr.io/{'a/' * 130}b@sha256:{DIGEST}", "input-source", "", id="a long repository"),
        pytest.param("s3://data/object", "input-source", "an object alone", id="an object"),
        pytest.param("s3://data", "input-source", "", id="a bucket without a slash"),
        pytest.param("s3://127.0.0.1:9000/data/", "input-source", "builder's own", id="an endpoint"),
        pytest.param("s3://ada:pw@data/a/", "input-source", "", id="keys"),
        pytest.param("s3:/data/a/", "input-source", "", id="one slash"),
        pytest.param("s3://data/../other/", "path-invalid", "", id="a prefix that climbs"),
        pytest.param("s3://data/a//", "path-invalid", "", id="an empty part of a prefix"),
        pytest.param("s3://data//", "input-source", "", id="a prefix of nothing"),
        pytest.param("https://git.example/b.tar", "input-source", "directory", id="a URI of another kind"),
    ],
)
def test_what_may_move_or_leave_is_refused_with_what_to_type(text: str, code: str, says: str) -> None:
    with pytest.raises(Malformed) as refused:
        parse(text)
    assert refused.value.code == code
    assert says in refused.value.hint
