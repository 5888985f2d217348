"""Manifests: one text per value, and every name stays one file on every file system."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.errors import Malformed
from keyturn.formats.digest import ArtifactDigest, Sha256, dir_hash
from keyturn.formats.manifest import (
    Contents,
    HashedFile,
    Manifest,
    ManifestFile,
    apart,
    check_names,
    parse,
    render,
)


def file(path: str, *, size: int = 1) -> ManifestFile:
    return ManifestFile(path=path, size=size, sha256="a" * 64, blake3="b" * 64)


def directory(*paths: str) -> Manifest:
    return Manifest(kind="directory", files=tuple(file(path) for path in paths))


names = st.lists(
    st.text(st.sampled_from("abcé0-_."), min_size=1, max_size=6).filter(lambda s: s not in (".", "..")),
    min_size=1,
    max_size=3,
)


@given(st.lists(names.map("/".join), min_size=1, max_size=6, unique=True))
def test_what_is_rendered_parses_to_the_same(paths: list[str]) -> None:
    try:
        check_names(paths)
    except Malformed:
        return
    made = directory(*sorted(paths, key=lambda p: p.encode()))
    assert parse(render(made)) == made


def test_the_identity_of_a_directory_is_its_dir_hash_and_of_a_file_its_sha256() -> None:
    made = directory("a", "b/c")
    assert made.identity == dir_hash([("b/c", Sha256("a" * 64)), ("a", Sha256("a" * 64))])
    assert Manifest(kind="file", files=(file("x"),)).identity == ArtifactDigest("sha256", Sha256("a" * 64))
    assert made.size_bytes == 2


GOOD = render(directory("a", "b/c"))


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"{}", id="no fields"),
        pytest.param(GOOD + b" ", id="white space after it"),
        pytest.param(GOOD[:-1], id="truncated"),
        pytest.param(GOOD.replace(b'"version":1', b'"version":2'), id="another version"),
        pytest.param(GOOD.replace(b'"version":1', b'"more":1,"version":1'), id="an unknown field"),
        pytest.param(GOOD.replace(b'"size":1', b'"size":9223372036854775808'), id="a size of 2^63"),
        pytest.param(GOOD.replace(b'"size":1', b'"size":-1'), id="a negative size"),
        pytest.param(GOOD.replace(b'"size":1', b'"size":1.0'), id="a float"),
        pytest.param(GOOD.replace(b'"path":"a"', b'"path":"../a"'), id="a path that escapes"),
        pytest.param(GOOD.replace(b'"path":"a"', b'"path":"/a"'), id="an absolute path"),
        pytest.param(GOOD.replace(b'"path":"a"', b'"path":"a\\u001b"'), id="a terminal escape"),
        pytest.param(GOOD.replace(b'"path":"a"', b'"path":"B/C"'), id="names that fold to one"),
        pytest.param(GOOD.replace(b'"path":"a"', b'"path":"c"'), id="files out of order"),
        pytest.param(GOOD.replace(b'"path":"a"', b'"path":"b/c"'), id="a file twice"),
        pytest.param(GOOD.replace(b'"path":"a"', b'"path":"b"'), id="a file that is a directory too"),
        pytest.param(GOOD.replace(b'"a"', b'"x/y"').replace(b"directory", b"file"), id="a file of two"),
        pytest.param(b'{"files":[],"kind":"directory","version":1}', id="no files"),
        pytest.param(
            render(Manifest(kind="file", files=(file("a"),))).replace(b'"path":"a"', b'"path":"b/a"'),
            id="a file in a directory, as a file",
        ),
    ],
)
def test_a_manifest_that_is_not_the_one_text_of_a_value_is_refused(raw: bytes) -> None:
    with pytest.raises(Malformed):
        parse(raw)


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_a_changed_byte_is_refused_or_another_value(position: int, byte: int) -> None:
    changed = GOOD[:position] + bytes([byte]) + GOOD[position + 1 :]
    try:
        value = parse(changed)
    except Malformed:
        return
    assert render(value) == changed


@pytest.mark.parametrize(
    "paths",
    [
        pytest.param(("a", "A"), id="case"),
        pytest.param(("d/x", "D/y"), id="case of a directory"),
        pytest.param(("é", "e\u0301"), id="composed and decomposed"),
        pytest.param(("ß", "SS"), id="sharp s"),
        pytest.param(("K", "\u212a"), id="the Kelvin sign"),
        pytest.param(("a", "a"), id="the same twice"),
        pytest.param(("a", "a/b"), id="a file and a directory"),
        pytest.param(("a/b/c", "a/b"), id="a directory and a file"),
    ],
)
def test_names_that_could_be_one_file_are_refused(paths: tuple[str, ...]) -> None:
    with pytest.raises(Malformed):
        check_names(paths)


def test_files_of_one_directory_beside_each_other_are_fine() -> None:
    check_names(["a/b/c", "a/b/d", "a/e", "f"])


def hashed(*files: tuple[str, int, str]) -> tuple[HashedFile, ...]:
    return tuple(HashedFile(path=path, size=size, sha256=sha * 64) for path, size, sha in files)


def test_contents_have_the_identity_of_their_manifest_and_are_compared_file_by_file() -> None:
    made = directory("a", "b/c")
    same = Contents("directory", hashed(("a", 1, "a"), ("b/c", 1, "a")))
    assert (same.identity, same.size_bytes, apart(made, same)) == (made.identity, made.size_bytes, ())
    other = Contents("directory", hashed(("a", 1, "a"), ("b/c", 1, "c")))
    assert apart(made, other) == ("'b/c' has another content",)
    longer = Contents("directory", hashed(("a", 2, "a"), ("b/d", 1, "a")))
    assert apart(made, longer) == (
        "'b/c' is missing",
        "'b/d' is extra",
        "'a' has 2 bytes in place of 1",
    )


def test_a_lone_file_is_compared_whatever_it_is_called() -> None:
    made = Manifest(kind="file", files=(file("weights"),))
    assert apart(made, Contents("file", hashed(("renamed", 1, "a")))) == ()
    assert apart(made, Contents("file", hashed(("renamed", 2, "a")))) == ("'renamed' has 2 bytes in place of 1",)
    kept = Contents("directory", hashed(("weights", 1, "a")))
    assert apart(made, kept) == ("it is a directory, and the model is a file",)
    assert Contents("file", kept.files).identity == made.identity
