"""Taken: an account on a host, a repository, an image or a server that is scanned. Root types every command that closes a door
there, as `keyturn scan` names it, and none of them opens another one or touches what lies elsewhere."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from keyturn.adapters.scans.scan_git import read_repository
from keyturn.standing.git_repository import scan_repository
from keyturn.standing.host.ssh_keys import KEYS_MAX
from keyturn.standing.postgres import HbaLine, Server, scan_postgres
from support.host_image import HostImage, close, made_image

ADA, BOB = 1000, 1001


def key(number: int) -> str:
    blob = b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00 " + number.to_bytes(32)
    return f"ssh-ed25519 {base64.b64encode(blob).decode()}\n"


@pytest.fixture
def image(tmp_path: Path) -> HostImage:
    return made_image(tmp_path / "gpu1")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Ada's, who made it so that each command which closes it touches what is not hers."""
    path = tmp_path / "model.git"
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", path], check=True)
    for place in (path, *path.rglob("*")):
        os.chown(place, ADA, ADA)
    return path


@pytest.fixture
def bobs(tmp_path: Path) -> Path:
    """A directory of Bob's with his keys."""
    path = tmp_path / "bob"
    path.mkdir(mode=0o700)
    (path / "authorized_keys").write_text(key(1))
    for place in (path, path / "authorized_keys"):
        os.chown(place, BOB, BOB)
    return path


def closes(path: Path) -> None:
    for one in scan_repository(read_repository(path)).findings:
        subprocess.run(["bash", "-c", one.close], cwd=path.parent, capture_output=True, check=False)


@pytest.mark.parametrize("link", ["authorized_keys", "the directory"])
def test_who_links_his_keys_to_anothers_file_is_not_given_it(image: HostImage, link: str) -> None:
    private = image.write("/home/bob/.ssh/authorized_keys", key(1), mode=0o600, uid=BOB, gid=BOB)
    hers = image.root / "home/ada/.ssh"
    if link == "authorized_keys":
        (hers / "authorized_keys").symlink_to("../../bob/.ssh/authorized_keys")
    else:
        shutil.rmtree(hers)
        hers.symlink_to("../bob/.ssh")
    (door,) = image.found("ssh-keys-writable")
    close(door)
    assert private.stat().st_uid in (0, BOB)


def test_who_links_his_many_keys_to_a_file_of_roots_before_they_are_removed_empties_nothing(image: HostImage) -> None:
    keys = image.write("/home/ada/.ssh/authorized_keys", "".join(map(key, range(KEYS_MAX + 1))), uid=ADA)
    (door,) = image.found("ssh-keys-too-many")
    keys.unlink()
    keys.symlink_to("../../../etc/shadow")
    before = (image.root / "etc/shadow").read_bytes()
    close(door)
    assert (image.root / "etc/shadow").read_bytes() == before
    assert image.found("ssh-keys-too-many") == []


def test_no_command_for_an_image_leads_out_of_it_by_its_links(image: HostImage, tmp_path: Path) -> None:
    outside = tmp_path / "etc"
    outside.mkdir()
    inside = image.root / str(outside).lstrip("/")
    inside.mkdir(parents=True)
    for directory in (outside, inside):
        (directory / "passwd").write_text("17 3 * * * nightly\n")
    (image.root / "var/spool/cron").mkdir(parents=True)
    (image.root / "var/spool/cron/crontabs").symlink_to(outside)
    (door,) = image.found("cron-table")
    close(door)
    assert (outside / "passwd").exists()
    assert image.found("cron-table") == []


def test_a_hook_that_is_a_link_has_nothing_written_where_it_leads(repository: Path, tmp_path: Path) -> None:
    secret = tmp_path / "shadow"
    secret.write_text("root:*:20000:0:99999:7:::\n")
    secret.chmod(0o640)
    (repository / "hooks" / "update").symlink_to(secret)
    closes(repository)
    assert (secret.read_text(), secret.stat().st_mode & 0o777) == ("root:*:20000:0:99999:7:::\n", 0o640)
    assert "git-unprotected" not in {one.code for one in scan_repository(read_repository(repository)).findings}


@pytest.mark.parametrize("by", ["a setting", "a link", "a link to a file"])
def test_hooks_that_lie_with_somebody_else_are_not_given_to_the_repositorys_owner(
    repository: Path, bobs: Path, by: str
) -> None:
    if by == "a setting":
        subprocess.run(["git", "config", "--file", repository / "config", "core.hooksPath", bobs], check=True)
    elif by == "a link":
        shutil.rmtree(repository / "hooks")
        (repository / "hooks").symlink_to(bobs)
    else:
        (repository / "hooks" / "update").symlink_to(bobs / "authorized_keys")
    closes(repository)
    for place in (bobs, bobs / "authorized_keys"):
        assert place.stat().st_uid in (0, BOB)
    assert sorted(one.name for one in bobs.iterdir()) == ["authorized_keys"]
    assert (bobs / "authorized_keys").read_text() == key(1)


def test_a_relative_directory_of_hooks_is_the_repositorys_and_not_that_of_whoever_types(repository: Path) -> None:
    subprocess.run(["git", "config", "--file", repository / "config", "core.hooksPath", "ours"], check=True)
    elsewhere = repository.parent / "ours"
    elsewhere.mkdir()
    closes(repository)
    assert list(elsewhere.iterdir()) == []
    assert "git-unprotected" not in {one.code for one in scan_repository(read_repository(repository)).findings}


def test_a_server_names_no_file_that_sed_takes_for_an_option(tmp_path: Path) -> None:
    victim = tmp_path / "nologin"
    line = HbaLine(f"-ew{victim}", 1, "host", ("all",), ("all",), "all", "", "trust", (), "")
    (door,) = scan_postgres(Server("host=db", (), (line,), (), (), (), ())).findings
    subprocess.run(["bash", "-c", door.close], cwd=tmp_path, capture_output=True, check=False)
    assert not victim.exists()
