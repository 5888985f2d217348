"""A builder takes inputs from where they are kept: what is mounted is what was named, and the provenance says so."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.test_hub_input import REVISION, make_cache
from adapters.test_oci_input import LAYER, make_layout
from keyturn.adapters.inputs.s3_place import S3Place
from keyturn.adapters.over_http.builder_over_http import JobState, Order
from keyturn.cli.custody.chains import input_json
from keyturn.formats.provenance import Dependency
from keyturn.service.builder_service import BuilderService
from keyturn.wiring.custody.builder import BuilderParts
from keyturn.wiring.custody.steps import contents_of
from service.test_builder_service import failed, provenance_of
from support.builders import Place
from support.labs import make_lab
from support.registries import serve_registry
from support.s3 import serve_s3

Run = Callable[[Order], JobState]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, make_lab())


@pytest.fixture
def run(place: Place) -> Iterator[Callable[..., JobState]]:
    with running(place.parts()) as service:
        yield service


@contextmanager
def running(parts: BuilderParts) -> Iterator[Run]:
    service = BuilderService(parts)
    service.start()
    try:
        yield lambda order: service.state(service.order(order).job, wait_s=60)
    finally:
        service.stop()


def taken(place: Place, state: JobState) -> Dependency:
    return next(d for d in provenance_of(place, state).dependencies if d.name == "data")


def step_file(place: Place, source: str, script: str, monkeypatch: pytest.MonkeyPatch) -> bytes:
    monkeypatch.chdir(place.work)
    digest = str(contents_of(source, lambda *_: None, listed=True).identity)
    return place.step_file(script, source=source, digest=digest, check="snapshot")


def test_a_commit_goes_into_a_step_as_the_tree_that_it_names(
    place: Place, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*words: str) -> str:
        who = ("-c", "user.name=Ada", "-c", "user.email=ada@acme.example", "-c", "init.defaultBranch=main")
        environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}
        words = ("git", "-C", str(place.work / "repo"), *who, *words)
        return subprocess.run(words, env=environment, check=True, capture_output=True, text=True).stdout.strip()

    (place.work / "repo").mkdir()
    (place.work / "repo" / "train.txt").write_text("as committed\n")
    git("init", "-q")
    git("add", "--all")
    git("commit", "-q", "-m", "first")
    source = f"git+file:repo@{git('rev-parse', 'HEAD')}"
    (place.work / "repo" / "train.txt").write_text("not committed\n")
    raw = step_file(place, source, "cat /in/data/train.txt > /out/model; ls -a /in/data >> /out/model", monkeypatch)
    state = run(place.order(raw))
    assert (place.out / "model").read_text() == "as committed\n.\n..\ntrain.txt\n", state
    found = taken(place, state)
    assert (found.origin.uri, found.origin.git_commit, found.check) == (source, source[-40:], "snapshot")
    assert input_json(found)["git_commit"] == source[-40:]

    entries = len(place.log._leaves)
    (place.work / "repo" / ".git" / "objects" / source[-40:-38] / source[-38:]).unlink()
    assert "lacks the object" in failed(
        run(place.order(raw, destination=str(place.work / "more"))), "source-object-missing"
    )
    assert len(place.log._leaves) == entries
    assert sorted(p.name for p in place.work.iterdir()) == ["data", "made", "repo"], "nothing of it is left"
    elsewhere = raw.replace(source.encode(), b"git+https://git.example/repo@" + source[-40:].encode())
    failed(run(place.order(elsewhere, destination=str(place.work / "more"))), "source-not-allowed")
    assert len(place.log._leaves) == entries


def test_a_snapshot_of_a_hub_goes_into_a_step_and_only_as_a_snapshot(
    place: Place, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = make_cache(place.work / "hub")
    source = str(snapshot.relative_to(place.work))
    raw = step_file(place, source, "cat /in/data/config.json > /out/model", monkeypatch)
    state = run(place.order(raw))
    assert (place.out / "model").read_text() == '{"small": true}\n', state
    assert taken(place, state).origin.uri == f"hf://acme/tiny@{REVISION}"
    outside = make_cache(place.root / "hub").parent.parent
    (place.work / "linked").mkdir()
    (place.work / "linked" / "models--acme--tiny").symlink_to(outside)
    elsewhere = raw.replace(source.encode(), f"linked/models--acme--tiny/snapshots/{REVISION}".encode())
    failed(run(place.order(elsewhere, destination=str(place.work / "more"))), "path-not-allowed")


def test_an_image_goes_into_a_step_by_its_digest_and_the_provenance_says_which(
    place: Place, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, index = make_layout(place.work / "image")
    source = f"oci:image@{index}#platform=linux/amd64"
    script = "ls /in/data/blobs/sha256 > /out/model; cat /in/data/oci-layout >> /out/model"
    raw = step_file(place, source, script, monkeypatch)
    state = run(place.order(raw))
    made = (place.out / "model").read_text().splitlines()
    assert (made[-1], len(made)) == ('{"imageLayoutVersion":"1.0.0"}', 5), state
    found = taken(place, state)
    assert (found.origin.uri, f"sha256:{found.origin.oci_manifest}", found.check) == (source, image, "snapshot")
    assert input_json(found)["oci_manifest"] == found.origin.oci_manifest

    entries = len(place.log._leaves)
    more = str(place.work / "more")
    (place.work / "image" / "blobs" / "sha256" / made[0]).write_bytes(b"")
    assert "the blob" in failed(run(place.order(raw, destination=more)), "oci-blob")
    make_layout(place.root / "elsewhere")
    failed(run(place.order(raw.replace(b"oci:image", b"oci:../elsewhere"), destination=more)), "path-not-allowed")
    assert len(place.log._leaves) == entries, "nothing ran, and nothing was logged"
    assert sorted(path.name for path in place.work.iterdir()) == ["data", "image", "made"], "nothing of it is left"


def test_an_image_of_a_registry_is_fetched_where_the_operator_allows_it(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, _ = make_layout(place.root / "image")
    with serve_registry(tmp_path / "registry") as registry:
        registry.push("acme/tokens", place.root / "image")
        source, more = f"oci://{registry.host}/acme/tokens@{image}", str(place.work / "more")
        raw = step_file(place, source, "ls /in/data/blobs/sha256 > /out/model", monkeypatch)
        with running(place.parts(sources=(f"oci://{registry.host}/acme/",))) as run:
            state = run(place.order(raw))
            assert len((place.out / "model").read_text().splitlines()) == 4, state
            found = taken(place, state)
            assert (found.origin.uri, f"sha256:{found.origin.oci_manifest}") == (source, image)
            entries = len(place.log._leaves)
            elsewhere = raw.replace(b"/acme/tokens", b"/other/tokens")
            failed(run(place.order(elsewhere, destination=more)), "source-not-allowed")
            registry.blob(hashlib.sha256(LAYER).hexdigest()).write_bytes(bytes(len(LAYER)))
            failed(run(place.order(raw, destination=more)), "oci-blob")
        assert len(place.log._leaves) == entries, "nothing ran, and nothing was logged"


def test_a_prefix_of_s3_goes_into_a_step_with_the_builders_own_keys(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, more = "s3://data/text/v1/", str(place.work / "more")
    with serve_s3() as s3:
        s3.put("data", {"text/v1/a.txt": b"from S3\n", "text/v1/deep/b.txt": b"more\n", "text/v2/c": b"other"})
        keys = s3.write_credentials(place.work / "keys")
        with monkeypatch.context() as of_the_member:
            of_the_member.setenv("AWS_ENDPOINT_URL", s3.endpoint)
            of_the_member.setenv("AWS_SHARED_CREDENTIALS_FILE", str(keys))
            raw = step_file(place, source, "cat /in/data/a.txt /in/data/deep/b.txt > /out/model", monkeypatch)
        parts = place.parts(sources=("s3://data/text/",), s3=S3Place(s3.endpoint, "us-east-1", keys))
        allowed = replace(parts.allowed, private=(*parts.allowed.private, keys))
        with running(replace(parts, allowed=allowed)) as run, s3.ask_for_keys():
            state = run(place.order(raw))
            assert (place.out / "model").read_text() == "from S3\nmore\n", state
            found = taken(place, state)
            assert (found.origin.uri, found.origin.git_commit, found.check) == (source, "", "snapshot")

            entries = len(place.log._leaves)
            elsewhere = raw.replace(b"data/text", b"data/other")
            assert "not below an address" in failed(run(place.order(elsewhere, destination=more)), "source-not-allowed")
            own_keys = raw.replace(source.encode(), b"keys")
            assert "no step may reach" in failed(run(place.order(own_keys, destination=more)), "path-private")
            s3.client.put_object(Bucket="data", Key="text/v1/a.txt", Body=b"from nobody\n")
            failed(run(place.order(raw, destination=more)), "input-digest")
            s3.client.put_object(Bucket="data", Key="text/v1/../../a.txt", Body=b"")
            failed(run(place.order(raw, destination=more)), "s3-key")
            assert len(place.log._leaves) == entries, "nothing ran, and nothing was logged"
    assert sorted(path.name for path in place.work.iterdir()) == ["data", "keys", "made"], "nothing of it is left"
