"""Each door of a real git repository is found, closed by the command that the finding names, and closed for git too."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from keyturn.adapters.scans.scan_git import read_repository
from keyturn.errors import Usage
from keyturn.standing.finding import Finding
from keyturn.standing.git_repository import scan_repository
from support.host_image import close


def git(*words: object, at: Path | None = None) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    who = ("-c", "user.name=ada", "-c", "user.email=ada@acme.example")
    return subprocess.run(["git", *who, *map(str, words)], cwd=at, env=env, capture_output=True, text=True)


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A repository in which nothing stands open: a hook takes no push to main."""
    path = tmp_path / "model code.git"
    git("init", "-q", "--bare", "-b", "main", path)
    for key in ("receive.denyNonFastForwards", "receive.denyDeletes"):
        git("config", "--file", path / "config", key, "true")
    hook = path / "hooks" / "update"
    hook.write_text('#!/bin/sh\ntest "$1" != refs/heads/main\n')
    hook.chmod(0o755)
    return path


def found(path: Path) -> list[Finding]:
    return list(scan_repository(read_repository(path)).findings)


def test_a_repository_in_which_nothing_stands_open_has_no_finding(bare: Path) -> None:
    assert found(bare) == []


def config(key: str, value: str) -> Callable[[Path], object]:
    return lambda path: git("config", "--file", path / "config", key, value)


DOORS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "no hook": (lambda path: (path / "hooks" / "update").unlink(), "git-unprotected", "high"),
    "a hook that does not run": (lambda path: (path / "hooks" / "update").chmod(0o644), "git-unprotected", "high"),
    "a history to rewrite": (config("receive.denyNonFastForwards", "false"), "git-rewritable", "medium"),
    "branches to delete": (config("receive.denyDeletes", "no"), "git-deletable", "medium"),
    "pushes by the daemon": (config("daemon.receivepack", "true"), "git-daemon-push", "high"),
    "pushes over HTTP, in a file that is included": (
        lambda path: ((path / "more").write_text("[http]\n\treceivepack\n"), config("include.path", "more")(path)),
        "git-http-push",
        "medium",
    ),
    "reading by the daemon": (lambda path: (path / "git-daemon-export-ok").touch(), "git-exported", "medium"),
    "a hook that others write": (lambda path: (path / "hooks" / "update").chmod(0o775), "git-writable", "high"),
    "a configuration that others write": (lambda path: (path / "config").chmod(0o666), "git-writable", "high"),
    "a hook of somebody else": (lambda path: os.chown(path / "hooks" / "update", 1001, 0), "git-writable", "high"),
    "branches that a group writes": (lambda path: (path / "refs").chmod(0o775), "git-writable", "medium"),
}


@pytest.mark.parametrize("name", DOORS)
def test_a_door_is_found_and_its_command_closes_it(bare: Path, name: str) -> None:
    opens, code, severity = DOORS[name]
    opens(bare)
    (door,) = found(bare)
    assert (door.code, door.severity) == (code, severity)
    close(door)
    assert found(bare) == []


def test_git_itself_refuses_what_the_commands_closed(bare: Path, tmp_path: Path) -> None:
    (bare / "hooks" / "update").unlink()
    for key in ("receive.denyNonFastForwards", "receive.denyDeletes"):
        config(key, "false")(bare)
    work = tmp_path / "work"
    git("clone", "-q", bare, work)
    (work / "x").write_text("1")
    git("add", "x", at=work)
    git("commit", "-qm", "one", at=work)
    assert git("push", "-q", "origin", "HEAD:main", "HEAD:other", at=work).returncode == 0
    for one in found(bare):
        close(one)
    git("commit", "-q", "--amend", "-m", "another", at=work)
    for refspec in ("+HEAD:main", "+HEAD:other", ":other"):
        assert git("push", "-q", "origin", refspec, at=work).returncode != 0
    git("reset", "-q", "--hard", "origin/other", at=work)
    git("commit", "-q", "--allow-empty", "-m", "two", at=work)
    assert git("push", "-q", "origin", "HEAD:main", at=work).returncode != 0
    assert git("push", "-q", "origin", "HEAD:other", at=work).returncode == 0


def test_a_push_into_a_work_tree_is_a_door(tmp_path: Path) -> None:
    work = tmp_path / "work"
    git("init", "-q", work)
    config("receive.denyCurrentBranch", "updateInstead")(work / ".git")
    (door,) = (one for one in found(work) if one.code == "git-work-tree")
    close(door)
    assert "git-work-tree" not in {one.code for one in found(work)}


def test_what_gitolite_decides_was_not_looked_at(bare: Path, tmp_path: Path) -> None:
    common = tmp_path / ".gitolite" / "hooks" / "update"
    common.parent.mkdir(parents=True)
    common.write_text("#!/bin/sh\n")
    common.chmod(0o755)
    (bare / "hooks" / "update").unlink()
    (bare / "hooks" / "update").symlink_to(common)
    assert [(one.code, one.severity) for one in found(bare)] == [("could-not-look", "unknown")]


def test_a_configuration_that_git_cannot_read_is_a_finding(bare: Path) -> None:
    (bare / "config").write_text("[receive\n")
    assert "could-not-look" in {one.code for one in found(bare)}


def test_no_hook_of_a_repository_and_no_command_in_its_configuration_is_run(bare: Path, tmp_path: Path) -> None:
    for key in ("core.fsmonitor", "core.sshCommand", "alias.config"):
        config(key, f"!touch {tmp_path}/pwned")(bare)
    (bare / "hooks" / "update").write_text(f"#!/bin/sh\ntouch {tmp_path}/pwned\n")
    found(bare)
    assert not (tmp_path / "pwned").exists()


def test_a_directory_that_is_no_repository_is_usage(tmp_path: Path) -> None:
    with pytest.raises(Usage, match="scan-no-repository"):
        read_repository(tmp_path)
    with pytest.raises(Usage, match="file-missing"):
        read_repository(tmp_path / "nowhere")
