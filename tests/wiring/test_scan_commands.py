"""`keyturn scan` as a person and a timer type it: what is shown, kept, told and accepted, and with which exit status it ends."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from support.commands import keyturn
from support.host_image import HostImage, made_image
from support.receivers import inbox

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"


@pytest.fixture
def image(tmp_path: Path) -> HostImage:
    return made_image(tmp_path / "gpu1")


def run(place: Path, member: str, *words: object, within_s: int = 120) -> subprocess.CompletedProcess[str]:
    home = place / member
    home.mkdir(exist_ok=True)
    if member != "machine":
        (home / "config.toml").write_text(f'version = 1\nmember = "{member}"\n\n[pins]\n')
    return keyturn("scan", *words, place=place, home=home, within_s=within_s)


def read(done: subprocess.CompletedProcess[str], status: int) -> Any:
    assert done.returncode == status, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_a_new_door_is_told_once_and_again_when_nobody_took_the_news(image: HostImage, tmp_path: Path) -> None:
    scan = ("host", "--root", image.root, "--ledger", "standing.json", "--owner", "dan", "--json")
    with inbox() as box:
        url = tmp_path / "pager.url"
        url.write_text(box.url("pager"))
        url.chmod(0o600)
        assert read(run(tmp_path, "machine", *scan, "--notify", url), 0)["doors"] == []
        image.write("/root/.ssh/authorized_keys", f"{KEY} eve <b>@all</b>\n")
        box.status["pager"] = 500
        failed = run(tmp_path, "machine", *scan, "--notify", url)
        assert (failed.returncode, "receiver-failed" in failed.stderr) == (3, True)
        box.status.clear()
        told = read(run(tmp_path, "machine", *scan, "--notify", url), 1)
        assert (told["told"], told["new"]) == (True, [])
        assert told["doors"][0]["owner"] == "dan"
        assert not read(run(tmp_path, "machine", *scan, "--notify", url), 1)["told"]
        assert box.titles("pager") == ["standing access: 1 new at host:gpu1"]
        url.chmod(0o644)
        refused = run(tmp_path, "machine", *scan, "--notify", url)
        assert (refused.returncode, "receiver-secret-exposed" in refused.stderr) == (1, True)


def test_two_members_accept_a_door_and_one_does_not(image: HostImage, tmp_path: Path) -> None:
    image.write("/root/.ssh/authorized_keys", f"{KEY} eve\n")
    ledger = ("--ledger", "standing.json", "--json")
    scan = ("host", "--root", image.root, *ledger)
    (door,) = read(run(tmp_path, "machine", *scan), 1)["doors"]
    said = ("--until", "30d", "--reason", "until the bastion is there")
    assert read(run(tmp_path, "ada", "accept", door["id"][:12], *said, *ledger), 0)["state"] == "half-accepted"
    assert run(tmp_path, "machine", *scan).returncode == 1
    again = run(tmp_path, "ada", "accept", door["id"][:12], *ledger)
    assert (again.returncode, "acceptance-needs-two" in again.stderr) == (1, True)
    agreed = read(run(tmp_path, "bob", "accept", door["id"][:12], *ledger), 0)
    assert (agreed["state"], agreed["accepted_by"]) == ("accepted", ["ada", "bob"])
    (shown,) = read(run(tmp_path, "machine", *scan), 0)["doors"]
    assert (shown["state"], shown["reason"]) == ("accepted", "until the bastion is there")
    assert read(run(tmp_path, "ada", "assign", door["id"], "carol", *ledger), 0)["owner"] == "carol"
    image.write("/root/.ssh/authorized_keys", f"restrict {KEY} eve\n")
    assert run(tmp_path, "machine", *scan).returncode == 1, "another line is another door"
    nobody = run(tmp_path, "machine", "accept", door["id"], *said, *ledger)
    assert nobody.returncode == 2


def test_what_was_not_looked_at_is_neither_a_yes_nor_a_no(image: HostImage, tmp_path: Path) -> None:
    image.write("/etc/nsswitch.conf", "passwd: files sss\n")
    done = run(tmp_path, "machine", "host", "--root", image.root)
    assert (done.returncode, "could-not-look" in done.stdout) == (3, True)


def test_what_is_shown_to_people_acts_on_no_terminal_and_names_the_command(image: HostImage, tmp_path: Path) -> None:
    image.write("/root/.ssh/authorized_keys", f"{KEY} \x1b]0;x\x07[bold]eve[/bold]\n")
    done = run(tmp_path, "ada", "host", "--root", image.root, "--name", "gpu7")
    assert (done.returncode, "\x1b" in done.stdout) == (1, False)
    for text in (
        "ssh-key  NEW",
        "host:gpu7 /root/.ssh/authorized_keys",
        "[bold]eve[/bold]",
        "close  sed -i",
        "owner ada",
        "1 open",
    ):
        assert text in done.stdout, done.stdout
    shown = run(tmp_path, "ada", "show")
    assert (shown.returncode, "ssh-key" in shown.stdout) == (1, True)
    assert run(tmp_path, "ada", "show", "--since", "2100-01-01").returncode == 0
    assert run(tmp_path, "ada", "show", "--since", "1d").returncode == 1
    assert run(tmp_path, "ada", "show", "--place", "host:gpu8").returncode == 3
    (image.root / "root/.ssh/authorized_keys").unlink()
    closed = run(tmp_path, "ada", "host", "--root", image.root, "--name", "gpu7")
    assert (closed.returncode, "closed since the last scan: ssh-key" in closed.stdout) == (0, True)


def test_a_ledger_that_is_damaged_is_not_begun_anew(image: HostImage, tmp_path: Path) -> None:
    (tmp_path / "standing.json").write_text('{"version":1,"places":[]}')
    done = run(tmp_path, "machine", "host", "--root", image.root, "--ledger", "standing.json")
    assert (done.returncode, "ledger-unreadable" in done.stderr) == (3, True)
    assert (tmp_path / "standing.json").read_text() == '{"version":1,"places":[]}'


@pytest.mark.timeout(600)
def test_the_running_machine_is_scanned(tmp_path: Path) -> None:
    """However many files it has."""
    done = run(tmp_path, "ada", "host", "--json", within_s=550)
    found = read(done, done.returncode)
    assert done.returncode in (0, 1, 3)
    assert all(door["close"] or door["severity"] == "unknown" for door in found["doors"])
    assert "setuid-program" not in {door["code"] for door in found["doors"] if door["where"] == "/usr/bin/passwd"}
