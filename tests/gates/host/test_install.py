"""What `keyturn gate host install` puts on a host, and what it refuses to leave there."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from support.commands import KEYTURN
from support.hosts import Host, HostsLab


def install(lab: HostsLab, host: Host, *more: str) -> subprocess.CompletedProcess[str]:
    words = [*KEYTURN, "gate", "host", "install", host.name, *lab.where(host), "--json", *more]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def second(lab: HostsLab) -> Host:
    return lab.install("gpu2")


def code(done: subprocess.CompletedProcess[str]) -> str:
    return str(json.loads(done.stderr.splitlines()[-1])["error"]["code"])


def test_a_dry_run_says_what_is_closed_and_writes_nothing(lab: HostsLab, second: Host) -> None:
    fragment = second.place / "sshd_config.d" / "10-keyturn.conf"
    fragment.unlink()
    done = install(lab, second, "--dry-run")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert any("password" in door for door in said["closes"])
    assert not fragment.exists()
    assert install(lab, second).returncode == 2, "nobody said yes"
    assert not fragment.exists()
    assert install(lab, second, "--yes").returncode == 0
    assert fragment.exists()


@pytest.mark.parametrize(
    "door",
    [
        "Match User ktada\n  AuthorizedKeysFile .ssh/authorized_keys\n",
        "Match User root\n  PermitTunnel yes\n",
        "Match User ktdeploy\n  PasswordAuthentication yes\n",
        "Match User ktada\n  X11Forwarding yes\n",
        "Match Address 10.0.0.0/8\n  PasswordAuthentication yes\n",
        "Match LocalPort 2222\n  AuthorizedKeysFile=.ssh/authorized_keys\n",
        "Match User daemon\n  KbdInteractiveAuthentication yes\nMatch all\n",
        "Match Host *.example\n  ForceCommand internal-sftp\n",
        "Match Host *.example\n  Include {place}/elsewhere\n",
        "Match Host *.example\n  AcceptEnv LANG BASH_ENV\n",
        "AcceptEnv LC_* LD_*\n",
        "Match all\n  ForceCommand /bin/sh\n",
    ],
    ids=[
        "keys in files",
        "a tunnel",
        "a password",
        "forwarded X11",
        "a password from some addresses",
        "keys in files at another port",
        "an account without a shell",
        "another command in place of the gate's",
        "a file that is included for some",
        "what bash reads, of some",
        "what the loader reads",
        "another command for all",
    ],
)
def test_another_door_of_sshd_is_named_and_nothing_is_left_behind(lab: HostsLab, second: Host, door: str) -> None:
    config = second.place / "sshd_config"
    before = config.read_text()
    (second.place / "elsewhere").write_text("# for some\nPasswordAuthentication yes\n")
    config.write_text(before + door.format(place=second.place))
    try:
        done = install(lab, second, "--yes")
        assert (done.returncode, code(done)) == (1, "sshd-other-door")
        assert not (second.place / "sshd_config.d" / "10-keyturn.conf").exists()
    finally:
        config.write_text(before)
    assert install(lab, second, "--yes").returncode == 0


def test_a_program_that_others_could_change_is_not_given_to_sshd(lab: HostsLab, second: Host, tmp_path: Path) -> None:
    done = install(lab, second, "--yes", "--program", str(tmp_path / "keyturn-host"))
    assert (done.returncode, code(done)) == (2, "host-path-open")


def test_whoever_is_not_sshds_helper_gets_no_answer(lab: HostsLab, host: Host) -> None:
    granted = lab.granted()
    public = subprocess.run(
        ["ssh-keygen", "-y", "-f", str(granted.identity)], capture_output=True, text=True, check=True
    ).stdout.split()
    ask = [str(host.place / "keyturn-host"), "ask", "ktada", *public[:2]]
    for user in ("keyturn-host", "ktada"):
        done = subprocess.run(ask, user=user, group=user, extra_groups=[], capture_output=True, text=True, cwd="/")
        assert done.stdout == "", "the helper's user is answered for sshd alone, and others not at all"
    assert host.opens(granted, "ktada")


def test_a_gate_is_shown_what_was_signed_in_files_and_takes_nothing_else(
    lab: HostsLab, host: Host, tmp_path: Path
) -> None:
    (tmp_path / "x").write_text("{}")
    words = [*KEYTURN, "gate", "host", "take", str(tmp_path / "x"), "--dir", str(host.directory), "--json"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
