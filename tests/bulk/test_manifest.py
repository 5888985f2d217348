"""Hashing a tree: the digests are right on every path through the code, and what has no place there is refused."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from blake3 import blake3

from keyturn.bulk import manifest
from keyturn.bulk.manifest import make
from keyturn.errors import KeyturnError, Malformed, Refused, Usage
from keyturn.formats.manifest import apart


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "sub" / "deeper").mkdir(parents=True)
    (root / "a").write_bytes(b"hello")
    (root / "empty").write_bytes(b"")
    (root / "sub" / "b").write_bytes(os.urandom(1_500_000))
    (root / "sub" / "deeper" / "c").write_bytes(b"\0" * 100)
    return root


def check(root: Path, **more: int) -> None:
    made = make(root, **more)
    assert manifest.contents(root, **more).identity == made.identity
    assert manifest.differing(root, made, **more) == ()
    for file in made.files:
        content = (root / file.path if made.kind == "directory" else root).read_bytes()
        assert (file.size, file.sha256, file.blake3) == (
            len(content),
            hashlib.sha256(content).hexdigest(),
            blake3(content).hexdigest(),
        )


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_both_digests_of_every_file_are_right(tree: Path, threads: int) -> None:
    check(tree, threads=threads)
    assert [f.path for f in make(tree).files] == ["a", "empty", "sub/b", "sub/deeper/c"]


@pytest.mark.parametrize("size", [64 << 20, (64 << 20) + 1, (70 << 20) + 12345])
def test_a_big_file_that_two_threads_share_has_the_same_digests(tmp_path: Path, size: int) -> None:
    place = tmp_path / "big"
    block = os.urandom(1 << 20)
    with place.open("wb") as file:
        for _ in range(size >> 20):
            file.write(block)
        file.write(block[: size % (1 << 20)])
    check(place, threads=2)


def test_the_identity_is_the_dir_hash_that_other_tools_compute(tree: Path) -> None:
    lines = "".join(
        f"{hashlib.sha256((tree / p).read_bytes()).hexdigest()}  {p}\n" for p in ("a", "empty", "sub/b", "sub/deeper/c")
    )
    assert str(make(tree).identity) == "dirHash:" + hashlib.sha256(lines.encode()).hexdigest()


def test_progress_ends_at_the_whole(tree: Path) -> None:
    seen: list[tuple[int, int]] = []
    made = make(tree, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (made.size_bytes, made.size_bytes)


@pytest.mark.parametrize(
    "kind", ["link", "dangling", "directory link", "pipe", "socket", "name", "fold", "control", "deep"]
)
def test_what_has_no_place_in_an_artifact_is_refused(tree: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    match kind:
        case "link":
            (tree / "l").symlink_to("a")
        case "dangling":
            (tree / "l").symlink_to("/nowhere")
        case "directory link":
            (tree / "l").symlink_to("sub")
        case "pipe":
            os.mkfifo(tree / "sub" / "p")
        case "socket":
            monkeypatch.chdir(tree)
            with socket.socket(socket.AF_UNIX) as bound:
                bound.bind("s")
        case "name":
            Path(os.fsdecode(os.fsencode(tree) + b"/\xff")).write_bytes(b"")
        case "fold":
            (tree / "A").write_bytes(b"")
        case "control":
            (tree / "x\ny").write_bytes(b"")
        case "deep":
            (tree / "/".join(["d"] * 70)).mkdir(parents=True)
    with pytest.raises((Refused, Malformed)):
        make(tree)


@pytest.mark.parametrize("big", [False, True])
def test_what_is_another_content_is_named_by_either_digest(tree: Path, big: bool) -> None:
    if big:
        with (tree / "big").open("wb") as file:
            file.truncate(65 << 20)
    before = make(tree)
    with (tree / ("big" if big else "a")).open("r+b") as file:
        file.seek(3)
        file.write(b"X")
    named = ("'big' has another content",) if big else ("'a' has another content",)
    assert manifest.differing(tree, before, threads=2) == named
    assert apart(before, manifest.contents(tree, threads=2)) == named


def test_nothing_is_read_when_names_or_sizes_differ(tree: Path) -> None:
    before = make(tree)
    (tree / "a").write_bytes(b"longer than hello")
    (tree / "empty").rename(tree / "full")
    named = ("'empty' is missing", "'full' is extra", "'a' has 17 bytes in place of 5")
    read: list[int] = []
    assert manifest.differing(tree, before, progress=lambda done, total: read.append(done)) == named
    assert read == []
    assert apart(before, manifest.contents(tree)) == named
    assert manifest.differing(tree / "a", before) == ("it is a file, and the model is a directory",)


def test_a_link_as_the_root_is_refused(tree: Path) -> None:
    (tree.parent / "link").symlink_to(tree)
    with pytest.raises(Refused):
        make(tree.parent / "link")


def test_an_empty_directory_and_a_missing_one_are_named(tmp_path: Path) -> None:
    (tmp_path / "void").mkdir()
    with pytest.raises(Malformed):
        make(tmp_path / "void")
    with pytest.raises(Usage, match="artifact-missing"):
        make(tmp_path / "missing")
    with pytest.raises(Refused):
        make(Path("/dev/null"))


@pytest.mark.parametrize("change", ["write", "grow", "shrink", "replace", "touch", "add", "remove"])
@pytest.mark.parametrize(
    "digest",
    [
        lambda tree, act: make(tree, threads=1, progress=act),
        lambda tree, act: manifest.contents(tree, threads=1, progress=act),
        lambda tree, act: manifest.differing(tree, make(tree), threads=1, progress=act),
    ],
    ids=["both", "SHA-256", "BLAKE3"],
)
def test_whatever_changes_while_it_is_read_is_refused(tree: Path, change: str, digest: Callable[..., object]) -> None:
    once = threading.Lock()

    def act(done: int, total: int) -> None:
        if not once.acquire(blocking=False):
            return
        place = tree / "sub" / "deeper" / "c"
        match change:
            case "write":
                place.write_bytes(b"\1" * 100)
            case "grow":
                with place.open("ab") as file:
                    file.write(b"x")
            case "shrink":
                os.truncate(place, 3)
            case "replace":
                (tree / "sub" / "new").write_bytes(b"\1" * 100)
                (tree / "sub" / "new").replace(place)
            case "touch":
                os.utime(place)
            case "add":
                (tree / "added").write_bytes(b"")
            case "remove":
                (tree / "empty").unlink()

    with pytest.raises(KeyturnError) as caught:
        digest(tree, act)
    assert caught.value.code == "file-changed"


def test_a_directory_swapped_for_a_link_while_it_is_read_is_refused(tree: Path) -> None:
    def act(done: int, total: int) -> None:
        if (tree / "sub" / "deeper").is_dir() and not (tree / "sub" / "deeper").is_symlink():
            (tree / "sub" / "deeper").rename(tree.parent / "moved")
            (tree / "sub" / "deeper").symlink_to(tree.parent / "moved")

    with pytest.raises(Refused):
        make(tree, threads=1, progress=act)


def test_no_descriptor_is_left_open(tree: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    make(tree)
    (tree / "l").symlink_to("a")
    with pytest.raises(Refused):
        make(tree)
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_listing_of_a_file_is_that_file(tree: Path) -> None:
    assert [found.path for found in manifest.look(tree / "a")] == ["a"]
