"""Commit objects, as git writes them, and the summary of a source revision for readers of SLSA."""

from __future__ import annotations

import json

import pytest

from keyturn.errors import Malformed
from keyturn.formats import git_commit, source
from keyturn.formats.digest import Sha256
from keyturn.formats.source import SourceSummary

TREE, PARENT = "4b825dc642cb6eb9a060e54bf8d69288fbee4904", "da39a3ee5e6b4b0d3255bfef95601890afd80709"
HEAD = f"tree {TREE}\nparent {PARENT}\nauthor A <a@x> 9 +0000\ncommitter B <b@x> 9 +0000".encode()
ARMOUR = b"-----BEGIN SSH SIGNATURE-----\n AAAA\n -----END SSH SIGNATURE-----"


def parse(raw: bytes, digits: int = 40) -> git_commit.GitCommit:
    return git_commit.parse(raw, commit=git_commit.object_id("commit", raw, digits=digits))


def test_a_commit_says_what_it_is() -> None:
    found = parse(HEAD + b"\nencoding latin1\n\nwhy\n\ngpgsig not here\n")
    assert (found.tree, found.parents) == (TREE, (PARENT,))
    assert (found.author, found.committer) == ("A <a@x> 9 +0000", "B <b@x> 9 +0000")
    assert (found.signed, found.signature) == (b"", b"")


@pytest.mark.parametrize(("digits", "name"), [(40, b"gpgsig"), (64, b"gpgsig-sha256")])
def test_what_is_signed_is_the_commit_without_its_signatures(digits: int, name: bytes) -> None:
    head = HEAD.replace(TREE.encode(), TREE.encode() + b"0" * 24).replace(PARENT.encode(), PARENT.encode() + b"0" * 24)
    head = head if digits == 64 else HEAD
    other = b"gpgsig" if digits == 64 else b"gpgsig-sha256"
    raw = b"%s\n%s %s\n%s x\nmergetag object\n and more\n\nwhy\n" % (head, name, ARMOUR, other)
    found = parse(raw, digits)
    assert found.signed == head + b"\nmergetag object\n and more\n\nwhy\n"
    assert found.signature == ARMOUR.replace(b"\n ", b"\n")


@pytest.mark.parametrize(
    "more",
    [
        pytest.param(b"\ngpgsig -----BEGIN PGP SIGNATURE-----\n x", id="by PGP"),
        pytest.param(b"\ngpgsig %b\ngpgsig %b" % (ARMOUR, ARMOUR), id="twice"),
    ],
)
def test_other_signatures_are_none(more: bytes) -> None:
    assert parse(HEAD + more + b"\n\nwhy\n").signature == b""


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(HEAD, id="no end of the headers"),
        pytest.param(b" x\n" + HEAD + b"\n\n", id="it begins in the middle"),
        pytest.param(HEAD + b"\nalone\n\n", id="a header without a value"),
        pytest.param(HEAD.replace(b"tree", b"trees") + b"\n\n", id="no tree"),
        pytest.param(HEAD.replace(TREE.encode(), b"4b825dc") + b"\n\n", id="a short id"),
        pytest.param(HEAD.replace(TREE.encode(), b"0" * 64) + b"\n\n", id="an id of another length"),
        pytest.param(HEAD.replace(b"author", b"writer") + b"\n\n", id="no author"),
        pytest.param(HEAD + b"\n\n" + b"x" * git_commit.COMMIT_BYTES_MAX, id="too large"),
    ],
)
def test_what_is_no_commit_is_refused(raw: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        parse(raw)
    assert caught.value.code == "git-commit"


def test_a_summary_is_about_the_commit_and_names_ref_repository_and_level() -> None:
    made = SourceSummary(
        repository="https://git.acme.example/train",
        ref="refs/heads/main",
        commit="ab" * 20,
        tree=Sha256("cd" * 32),
        verifier="keyturn://acme.example/member/ada",
        verified_at=1790000000,
        targets=Sha256("1" * 64),
        lab="acme.example",
        inputs=(("src-1", Sha256("2" * 64)),),
        level=4,
    )
    said = json.loads(source.make_source_summary(made))
    assert said["predicateType"] == "https://slsa.dev/verification_summary/v1"
    assert said["subject"] == [
        {
            "annotations": {"source_refs": ["refs/heads/main"]},
            "digest": {"dirHash": "cd" * 32, "gitCommit": "ab" * 20},
        }
    ]
    assert said["predicate"]["verifiedLevels"] == ["SLSA_SOURCE_LEVEL_4"]
    assert said["predicate"]["resourceUri"] == "https://git.acme.example/train"
