"""`keyturn ssh`: one command asks, waits and connects; other terminals, scp and rsync come in by the same grant."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from support.host_people import Person, approve
from support.hosts import KEYTURN, Host, HostsLab
from support.processes import running, wait_for


@pytest.fixture
def ada(lab: HostsLab, host: Host, tmp_path: Path) -> Person:
    return Person(lab, host, tmp_path, "ktada")


@pytest.fixture
def bob(lab: HostsLab, host: Host, tmp_path: Path) -> Person:
    return Person(lab, host, tmp_path, "bob")


def test_one_command_asks_waits_and_connects(ada: Person, bob: Person) -> None:
    words = ada.ssh("--reason", "disk full", "--yes", "gpu1", "id", "-un")
    with running(words, environment=ada.environment) as asking:
        approve(bob, asking)
        assert asking.wait() == 0, asking.describe()
        assert "ktada" in asking.output.splitlines()
        assert "approved by bob" in asking.output


def test_while_a_grant_is_held_others_come_in_by_it_and_its_key_is_on_no_disk(ada: Person, bob: Person) -> None:
    words = ada.ssh("--reason", "copies", "--yes", "--sftp", "--hold", "gpu1")
    with running(words, environment=ada.environment) as holding:
        approve(bob, holding)
        holding.wait_for_line("held until")
        done = ada.run(*ada.ssh("gpu1", "id", "-un"))
        assert (done.returncode, done.stdout) == (0, "ktada\n"), done.stderr
        config = ada.place / "ssh_config"
        config.write_text(ada.run(*ada.ssh("--print-config", "gpu1")).stdout)
        source = ada.place / "notes"
        source.write_text("copied\n")
        copied = ada.run("scp", "-F", str(config), str(source), "gpu1:copied-by-scp")
        assert copied.returncode == 0, copied.stderr
        command = " ".join(ada.ssh())
        copied = ada.run("rsync", "-e", command, str(source), "gpu1:copied-by-rsync")
        assert copied.returncode == 0, copied.stderr
        said = ada.run(*ada.ssh("gpu1", "cat copied-by-scp copied-by-rsync; rm copied-by-*"))
        assert said.stdout == "copied\ncopied\n"
        for path in ada.place.rglob("*"):
            assert path.name == "member.pem" or not path.is_file() or b"PRIVATE KEY" not in path.read_bytes()
        holding.stop()
    done = ada.run(*ada.ssh("gpu1", "id", "-un"))
    assert done.returncode == 2, "nobody holds a grant any more, and no reason was given to ask for one"


def test_a_denial_ends_the_wait(ada: Person, bob: Person) -> None:
    words = ada.ssh("--reason", "why not", "--yes", "--json", "gpu1", "true")
    with running(words, environment=ada.environment) as asking:
        request = asking.wait_for_line(": asked").split("req-")[1][:32]
        done = bob.run(*KEYTURN, "deny", f"req-{request}", "--reason", "not now", "--yes")
        assert done.returncode in (0, 3), done.stderr  # the other gates of this lab do not run
        assert asking.wait() == 1
        assert json.loads(asking.output.splitlines()[-1])["error"]["code"] == "grant-ended"


def test_whoever_is_not_let_in_is_told_what_it_can_be(lab: HostsLab, ada: Person, bob: Person) -> None:
    words = ada.ssh("--reason", "as somebody else", "--yes", "-l", "nobody-here", "gpu1", "true")
    with running(words, environment=ada.environment) as asking:
        approve(bob, asking)
        assert asking.wait() == 255
        assert "did not let it in" in asking.output


def test_whoever_revokes_is_told_that_nobody_could_ask_the_hosts_gate_and_the_session_ends_all_the_same(
    ada: Person, bob: Person
) -> None:
    words = ada.ssh("--reason", "a long look", "--yes", "gpu1", "echo in; exec sleep 600")
    with running(words, environment=ada.environment) as session:
        request = approve(bob, session)
        session.wait_for_line("in")
        revoke = [*KEYTURN, "grant", "revoke", request, "--reason", "enough", "--yes"]
        done = bob.run(*revoke)
        assert done.returncode == 3
        assert "gate-not-in-force" in done.stderr
        said = done.stdout + done.stderr
        assert "NOT IN FORCE" in said
        assert "no address of it is known" in " ".join(said.split())
        assert "IN FORCE" not in said.replace("NOT IN FORCE", ""), "of no gate that could not be asked"
        assert "session-ended" in " ".join(done.stderr.split()), "and what to look at"
        assert session.wait(deadline_s=5) == 255


def test_a_verifier_that_is_killed_before_it_answers_lets_nobody_in_and_the_person_is_told_what_it_can_be(
    lab: HostsLab, ada: Person, bob: Person
) -> None:
    host = lab.host("gpu2")
    ada.host = host
    assert host.gate is not None
    with running(ada.ssh("--reason", "a look", "--yes", "--hold", "gpu2"), environment=ada.environment) as holding:
        approve(bob, holding)
        holding.wait_for_line("held until")
        os.kill(host.gate.pid, signal.SIGSTOP)  # it takes the question, and has no answer yet
        with running(ada.ssh("gpu2", "echo", "came in"), environment=ada.environment) as coming:
            asking = ["pgrep", "-f", f"{host.place}/keyturn-host ask"]
            wait_for("the question", lambda: subprocess.run(asking, capture_output=True).stdout or None, coming)
            host.gate.kill()
            assert coming.wait(deadline_s=20) == 255
            assert "came in" not in coming.output
            assert "Permission denied" in coming.output
            assert "did not let it in" in coming.output
            assert "or not run" in " ".join(coming.output.split())
        # Once it is back, the same grant opens.
        lab.start_gate(host)
        opened = lambda: ada.run(*ada.ssh("gpu2", "echo", "came in")).stdout == "came in\n" or None  # noqa: E731 - asked again and again
        wait_for("the way in", opened, host.gate)


def test_a_held_grant_has_what_it_was_asked_for_with_and_nothing_else(ada: Person, bob: Person, host: Host) -> None:
    to = f"127.0.0.1:{host.port}"

    def config() -> str:
        path = ada.place / "ssh_config"
        path.write_text(ada.run(*ada.ssh("--print-config", "gpu1")).stdout)
        return str(path)

    def carried(where: str) -> bool:
        return "SSH-2.0" in ada.run("ssh", "-F", where, "-W", to, "gpu1").stdout

    (ada.place / "notes").write_text("x")
    with running(ada.ssh("--reason", "plain", "--yes", "--hold", "gpu1"), environment=ada.environment) as holding:
        approve(bob, holding)
        holding.wait_for_line("held until")
        plain = config()
        copied = ada.run("scp", "-F", plain, str(ada.place / "notes"), "gpu1:not-there")
        assert copied.returncode != 0
        assert ada.run("sftp", "-F", plain, "-b", "/dev/null", "gpu1").returncode != 0
        assert not carried(plain), "no destination was asked for"
        back = ("-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:1")
        assert ada.run("ssh", "-F", plain, *back, "gpu1", "true").returncode == 255
        holding.stop()
    terms = ("--only", "echo only this", "--forward", to, "--from", "127.0.0.0/8")
    with running(
        ada.ssh("--reason", "terms", "--yes", "--hold", *terms, "gpu1"), environment=ada.environment
    ) as holding:
        approve(bob, holding)
        holding.wait_for_line("held until")
        assert ada.run(*ada.ssh("gpu1", "id", "-un")).stdout == "only this\n"
        named = config()
        assert carried(named)
        assert "SSH-2.0" not in ada.run("ssh", "-F", named, "-W", "127.0.0.1:1", "gpu1").stdout
        rsync = ada.run("rsync", "-e", f"ssh -F {named}", str(ada.place / "notes"), "gpu1:not-there")
        assert rsync.returncode != 0, "the one command is all that runs"
        holding.stop()
    far = ("--from", "192.0.2.0/24")
    with running(ada.ssh("--reason", "far", "--yes", "--hold", *far, "gpu1"), environment=ada.environment) as holding:
        approve(bob, holding)
        holding.wait_for_line("held until")
        assert ada.run(*ada.ssh("gpu1", "true")).returncode == 255, "from another network than was asked for"
