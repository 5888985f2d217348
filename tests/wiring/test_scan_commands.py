"""`keyturn scan` as a person and a timer type it: what is shown, kept, told and accepted, and with which exit status it ends."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from keyturn.app.oversight.standing_access import doors
from keyturn.errors import Usage
from keyturn.standing import ledger as ledgers
from keyturn.wiring.gates.scan import scan_judge
from support.commands import keyturn
from support.host_image import HostImage, made_image
from support.members import People
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


@pytest.mark.timeout(300)
def test_two_members_accept_a_door_each_with_his_own_key_and_every_scan_looks_who_they_are(
    image: HostImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One lab, and the life of one door: half accepted, accepted, carried, replayed, ended by a suspension."""
    people = People(tmp_path)
    people.found()
    people.by("bob", "trust", "accept", "bob.invitation.json")
    people.publish()
    root = hashlib.sha256((people.lab / "trust" / "root.json").read_bytes()).hexdigest()
    image.write("/root/.ssh/authorized_keys", f"{KEY} eve\n")
    ledger = ("--ledger", "standing.json", "--json")
    known = ("--lab", "lab", "--root-sha256", root)
    scan = ("host", "--root", image.root, *ledger, *known)
    with people.served():
        (door,) = read(run(tmp_path, "machine", *scan), 1)["doors"]
        said = ("scan", "accept", door["id"][:12], *ledger)
        end = ("--until", "30d", "--reason", "until the bastion is there")
        unasked = people.run("ada", *said, *end)
        assert (unasked.returncode, "not-confirmed" in unasked.stderr) == (2, True)
        for shown in (door["opens"], door["to"], "until the bastion is there", "host:gpu1"):
            assert shown in unasked.stderr, "all of it is shown before the key is used"
        assert read(people.run("ada", *said, *end, "--yes"), 0)["state"] == "half-accepted"
        shutil.copy(tmp_path / "standing.json", tmp_path / "bobs.json")  # to his own machine, where his key is
        agreed = read(people.run("bob", "scan", "accept", door["id"], "--ledger", "bobs.json", "--yes", "--json"), 0)
        assert (agreed["state"], agreed["accepted_by"]) == ("accepted", ["ada", "bob"])
        shutil.copy(tmp_path / "standing.json", tmp_path / "plain.json")
        for line in (f"{door['id'][:12]}: taken, signed by bob\n", "nothing is there that is not here\n"):
            plain = run(tmp_path, "machine", "take", "bobs.json", "--ledger", "plain.json", *known)
            assert (plain.returncode, plain.stdout) == (0, line)
        taken = read(run(tmp_path, "machine", "take", "bobs.json", *ledger, *known), 0)["acceptances"]
        assert [(one["by"], one["code"]) for one in taken] == [("bob", "")]
        (shown,) = read(run(tmp_path, "machine", *scan), 0)["doors"]
        assert (shown["state"], shown["reason"]) == ("accepted", "until the bastion is there")
        assert [one["by"] for one in shown["acceptances"]] == ["ada", "bob"]
        kept = (tmp_path / "standing.json").read_bytes()
        (place,) = ledgers.parse(kept).places
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("KEYTURN_HOME", str(tmp_path / "machine"))
        for named, pinned, code in (  # a machine that knows no lab, or is shown another one, knows no members either
            (None, None, "acceptance-no-lab"),
            ("lab", None, "acceptance-no-lab"),
            ("lab", "ab" * 32, "trust-root-not-pinned"),
            ("http://127.0.0.1:9", root, "no-answer"),
            ("lab", root, ""),
        ):
            (found,) = doors([place], scan_judge(named, pinned))
            assert {one.code for one in found.acceptances} == {code}
            assert (found.state, all(bool(one.hint) is bool(code) for one in found.acceptances)) == (
                "open" if code else "accepted",
                True,
            )
        for named, pinned in (("nowhere", root), ("lab", "ab")):
            with pytest.raises(Usage):
                scan_judge(named, pinned)

        image.write("/root/.ssh/authorized_keys", f"restrict {KEY} eve\n")
        (other,) = read(run(tmp_path, "machine", *scan), 1)["doors"]
        assert other["acceptances"] == [], "another line is another door"
        image.write("/root/.ssh/authorized_keys", f"{KEY} eve\n")
        assert run(tmp_path, "machine", *scan).returncode == 1, "it was closed, and opens again"
        replayed = read(run(tmp_path, "machine", "take", "bobs.json", *ledger, *known), 1)["acceptances"]
        assert {one["code"] for one in replayed} == {"acceptance-reopened"}
        plain = run(tmp_path, "machine", "take", "bobs.json", "--ledger", "standing.json", *known)
        lines = plain.stdout.splitlines()
        assert (plain.returncode, len(lines)) == (1, len(replayed))
        assert all(line.startswith(f"{door['id'][:12]}: left there: ") for line in lines)
        assert all(line.endswith("[acceptance-reopened]") for line in lines)

        (before,) = doors([place], scan_judge("lab", root))
        assert before.state == "accepted", "an older ledger that is put back says what was signed then, until its end"
        people.by("bob", "trust", "suspend", "--member", "ada", "--reason", "laptop lost", "--yes")
        (ended,) = doors([place], scan_judge("lab", root))
        assert (ended.state, [one.code for one in ended.acceptances]) == ("half-accepted", ["suspended", ""])


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
