"""A revision is read from git's own objects: the files that a checkout has, and nothing that the repository configures is run."""

from __future__ import annotations

import os
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from keyturn.adapters.git_objects import read_revision
from keyturn.bulk import manifest
from keyturn.errors import KeyturnError
from keyturn.formats import git_commit

WHO = ("-c", "user.name=Ada", "-c", "user.email=ada@acme.example", "-c", "init.defaultBranch=main")


def git(place: Path, *words: str) -> str:
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(
        ["git", *WHO, *words], cwd=place, env=environment, check=True, capture_output=True, text=True, timeout=60
    )
    return done.stdout.strip()


def commit(place: Path, *more: str) -> str:
    git(place, "add", "--all")
    git(place, "commit", "-q", "-m", "a change", *more)
    return git(place, "rev-parse", "HEAD")


def filled(place: Path) -> Path:
    (place / "deep" / "er").mkdir(parents=True)
    (place / "train.py").write_text("print('trained')\n")
    (place / "run.sh").write_text("#!/bin/sh\n")
    (place / "run.sh").chmod(0o755)
    (place / "deep" / "er" / "é.txt").write_bytes(b"\x00\xff" * 700_000)
    (place / "deep" / "empty").write_bytes(b"")
    return place


@pytest.fixture
def place(tmp_path: Path) -> Path:
    made = filled(tmp_path / 'a:b"c')
    git(made, "init", "-q")
    commit(made)
    return made


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(KeyturnError) as caught:
        call()
    return caught.value.code


@pytest.mark.parametrize("objects", ["sha1", "sha256"])
def test_a_revision_is_the_files_that_a_checkout_has(tmp_path: Path, objects: str) -> None:
    place = filled(tmp_path / "files")
    expected = manifest.make(place).identity
    git(place, "init", "-q", f"--object-format={objects}")
    made = commit(place)
    read = read_revision(place, "main")
    assert (read.tree, read.commit, read.ref, read.repository) == (expected, made, "refs/heads/main", "files")
    assert git_commit.parse(read.commit_object, commit=made).author.startswith("Ada <ada@acme.example>")
    git(place, "tag", "-m", "annotated", "v1")
    git(place, "clone", "-q", "--bare", ".", str(tmp_path / "bare.git"))
    git(place, "worktree", "add", "-q", "--detach", str(tmp_path / "beside"))
    (place / "train.py").write_text("print('not committed')\n")
    for where, ref in ((tmp_path / "bare.git", "v1"), (tmp_path / "beside", "HEAD"), (place, made), (place, "HEAD")):
        assert (read_revision(where, ref).tree, read_revision(where, ref).commit) == (expected, made)
    git(place, "gc", "-q")
    git(place, "remote", "add", "origin", "https://ada:secret@git.acme.example/train")
    packed = read_revision(place, "refs/tags/v1")
    assert (packed.tree, packed.repository) == (expected, "https://git.acme.example/train")


def test_nothing_that_the_repository_configures_is_run(place: Path, tmp_path: Path) -> None:
    expected = read_revision(place, "main").tree
    ran = tmp_path / "ran"
    evil = tmp_path / "evil"
    evil.write_text(f"#!/bin/sh\ntouch '{ran}'\ncat\n")
    evil.chmod(0o755)
    for hook in ("post-checkout", "reference-transaction", "post-index-change"):
        (place / ".git" / "hooks" / hook).symlink_to(evil)
    for name in (
        "filter.x.clean",
        "filter.x.smudge",
        "filter.x.process",
        "core.fsmonitor",
        "core.sshCommand",
        "core.pager",
    ):
        git(place, "config", name, str(evil))
    (tmp_path / "included").write_text(f"[core]\n\tsshCommand = {evil}\n")
    git(place, "config", "include.path", str(tmp_path / "included"))
    git(place, "config", "remote.origin.url", f"ext::{evil}")
    git(place, "config", "remote.origin.promisor", "true")
    git(place, "config", "core.repositoryformatversion", "1")
    git(place, "config", "extensions.partialClone", "origin")
    git(place, "config", "protocol.ext.allow", "always")
    (place / ".git" / "info" / "attributes").write_text("* filter=x\n")
    assert read_revision(place, "main").tree == expected
    gone = git(place, "rev-parse", "HEAD:train.py")
    (place / ".git" / "objects" / gone[:2] / gone[2:]).unlink()
    assert code_of(lambda: read_revision(place, "main")) == "source-object-missing"
    assert not ran.exists()


def test_a_replaced_commit_is_read_as_it_was(place: Path) -> None:
    first = read_revision(place, "main")
    (place / "train.py").write_text("other\n")
    git(place, "replace", first.commit, commit(place))
    assert read_revision(place, first.commit).tree == first.tree


def test_what_has_no_place_in_an_artifact_is_refused_by_its_path(place: Path) -> None:
    (place / "deep" / "link").symlink_to("/etc/passwd")
    commit(place)
    with pytest.raises(KeyturnError, match=r"deep/link") as caught:
        read_revision(place, "main")
    assert caught.value.code == "source-symlink"
    (place / "deep" / "link").unlink()
    git(place, "add", "--all")
    git(place, "update-index", "--add", "--cacheinfo", f"160000,{git(place, 'rev-parse', 'HEAD')},sub")
    git(place, "commit", "-q", "-m", "a submodule")
    assert code_of(lambda: read_revision(place, "main")) == "source-submodule"


def test_an_object_with_another_content_than_its_name_is_refused(place: Path) -> None:
    name = git(place, "rev-parse", "HEAD:train.py")
    stored = place / ".git" / "objects" / name[:2] / name[2:]
    stored.chmod(0o600)
    stored.write_bytes(zlib.compress(b"blob 5\0evil\n"))
    assert code_of(lambda: read_revision(place, "main")) == "source-object"


def test_what_is_no_revision_is_said(place: Path, tmp_path: Path) -> None:
    git(place, "tag", "of-a-file", "HEAD:train.py")
    git(place, "tag", "both")
    git(place, "branch", "both")
    assert code_of(lambda: read_revision(tmp_path, "main")) == "source-no-repository"
    assert code_of(lambda: read_revision(tmp_path / "none", "main")) == "file-missing"
    for said in (b"\x00garbage\xff{", b"gitdir: \x00", b"gitdir: nowhere"):
        (tmp_path / "garbage").write_bytes(said)
        assert code_of(lambda: read_revision(tmp_path / "garbage", "main")) == "source-no-repository"
    for ref in ("nope", "both", "of-a-file", "../../etc/passwd", "refs/heads/../../HEAD", "a b"):
        assert code_of(lambda ref=ref: read_revision(place, ref)) == "source-ref", ref
    assert code_of(lambda: read_revision(place, "0" * 40)) == "source-object-missing"
    git(place, "config", "core.repositoryformatversion", "1")
    git(place, "config", "extensions.refStorage", "reftable")
    assert code_of(lambda: read_revision(place, "main")) == "source-repository"
