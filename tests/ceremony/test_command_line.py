"""`keyturn init` and `keyturn trust` from the outside: what the demo does, with no question asked, and what is refused."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from support.commands import keyturn


@dataclass(frozen=True)
class Shell:
    """People who type commands in one directory, each with a home of their own."""

    directory: Path

    def run(self, who: str, *words: str, exit_status: int = 0, **environment: str) -> tuple[str, str]:
        at, home = self.directory, self.directory / "homes" / who
        done = keyturn(*words, place=at, home=home, lab=at / "lab", environment=environment)
        assert done.returncode == exit_status, done.stdout + done.stderr
        return done.stdout, done.stderr

    def json(self, who: str, *words: str) -> Any:
        return json.loads(self.run(who, *words, "--json")[0])

    def refused(self, who: str, *words: str, exit_status: int = 1) -> str:
        err = json.loads(self.run(who, *words, "--json", exit_status=exit_status)[1])
        code: str = err["error"]["code"]
        return code


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def test_two_people_and_an_agent_found_a_lab_with_no_question_asked(shell: Shell) -> None:
    init = shell.json(
        "ada", "init", "lab", "--profile", "demo", "--name", "acme.example", "--member", "ada", "--group", "releasers"
    )
    assert init["state"] == "founding"
    assert shell.refused("ada", "trust", "log") == "trust-founding"
    assert shell.refused("ada", "trust", "propose") == "trust-threshold-unreachable"

    shell.run("ada", "trust", "invite", "bob", "--group", "releasers")
    shell.run("ada", "trust", "invite", "ada+coder", "--kind", "agent", "--out", "coder.json")
    shell.run("bob", "trust", "accept", "bob.invitation.json", "--full-name", "Bob B")
    shell.run("coder", "trust", "accept", "coder.json", "--out", "coder.acceptance.json")
    assert not (shell.directory / "homes" / "coder" / "keys" / "trust.pem").exists()
    assert shell.refused("bob", "trust", "accept", "coder.json", exit_status=2) == "file-exists"

    shown = shell.json(
        "ada", "trust", "propose", "--acceptance", "bob.acceptance.json", "--acceptance", "coder.acceptance.json"
    )
    digests = [version["sha256"] for version in shown["versions"]]
    assert [version["role"] for version in shown["versions"]] == ["root", "targets"]
    shell.run("ada", "trust", "sign", exit_status=2)  # nobody is there to be asked
    assert shell.refused("ada", "trust", "sign", "--yes", "--sha256", "0" * 64) == "trust-not-shown"
    signed = shell.json("ada", "trust", "sign", "--yes", "--sha256", digests[0], "--sha256", digests[1])
    assert signed["human"] == "ada"
    assert shell.refused("ada", "trust", "publish") == "trust-founding"
    assert shell.refused("coder", "trust", "sign", "--yes", exit_status=2) == "key-missing"
    out, _ = shell.run("bob", "trust", "sign", "--yes")
    assert "+ada holds" in out
    assert "signed as bob: root version 1, targets version 1" in out

    published = shell.json("ada", "trust", "publish")
    root = (shell.directory / "lab" / "trust" / "root.json").read_bytes()
    assert published["root_sha256"] == sha256(root).hexdigest()
    assert published["published"] == [
        {"role": "root", "version": 1, "index": 0},
        {"role": "targets", "version": 1, "index": 1},
    ]
    log = shell.json("ada", "trust", "log")
    assert log["versions"][0]["signed_by"] == ["ada", "bob"]
    assert log["pinned"] is False
    assert shell.refused("ada", "trust", "pin", "0" * 64) == "trust-root-not-pinned"
    shell.run("ada", "trust", "pin", published["root_sha256"])
    assert shell.json("ada", "trust", "log")["pinned"] is True
    assert shell.refused("ada", "trust", "propose") == "trust-nothing-to-propose"
    shell.run("ada", "trust", "propose", "--renew")
    assert shell.refused("bob", "trust", "sign", "--yes", exit_status=2) == "trust-root-unpinned"
    assert shell.json("ada", "trust", "sign", "--yes")["signed"][0]["version"] == 2
    keys = [key for below in ("homes/*/keys/*.pem", "lab/**/key", "lab/keys/*") for key in shell.directory.glob(below)]
    assert len(keys) == 10
    for key in keys:
        assert key.stat().st_mode & 0o077 == 0, key


def test_a_second_lab_is_not_founded_over_the_first(shell: Shell) -> None:
    shell.run("ada", "init", "lab", "--profile", "demo")
    assert shell.refused("ada", "init", "other", "--profile", "demo", exit_status=2) == "file-exists"
    assert shell.refused("eve", "init", "lab", "--profile", "demo", exit_status=2) == "file-exists"
    assert not (shell.directory / "homes" / "eve").exists()


def test_bad_names_make_nothing(shell: Shell) -> None:
    for words in (
        ("--profile", "demo", "--name", "Not A Name"),
        ("--profile", "demo", "--name", "acme"),
        ("--profile", "demo", "--member", "ADA"),
        ("--profile", "demo", "--witness", "../../x"),
        ("--profile", "production"),
    ):
        shell.refused("ada", "init", "lab", *words, exit_status=2)
    assert not (shell.directory / "lab").exists()
    assert not (shell.directory / "homes").exists()


def test_keys_are_encrypted_when_a_passphrase_is_given(shell: Shell) -> None:
    secret = shell.directory / "passphrase"
    secret.write_text("correct horse battery staple\n")
    shell.run("ada", "init", "lab", "--profile", "demo", KEYTURN_PASSPHRASE_FILE=str(secret))
    pem = (shell.directory / "homes" / "ada" / "keys" / "trust.pem").read_text()
    assert "ENCRYPTED" in pem


def test_no_private_key_of_a_lab_gets_into_a_repository(shell: Shell) -> None:
    shell.run("ada", "init", "lab", "--profile", "demo")
    lab = shell.directory / "lab"
    keys = [path for path in lab.rglob("*") if path.is_file() and b"PRIVATE KEY" in path.read_bytes()]
    assert keys
    for words in (("init", "-q"), ("add", "-A")):
        subprocess.run(["git", *words], cwd=lab, check=True)
    listed = subprocess.run(["git", "ls-files"], cwd=lab, check=True, capture_output=True, text=True).stdout.split()
    assert {str(path.relative_to(lab)) for path in keys}.isdisjoint(listed)
    assert "trust/draft/roster.toml" in listed


def test_a_group_of_a_team_that_nothing_names_yet_is_founded_by_saying_so(shell: Shell) -> None:
    shell.run("ada", "init", "lab", "--profile", "demo", "--group", "releasers")
    (shell.directory / "team.csv").write_text("member,groups\ncyd,releasers auditors\ndan,auditors\n")
    _, said = shell.run("ada", "trust", "invite", "--csv", "team.csv", exit_status=1)
    assert "[group-unknown]" in said
    assert "--new-group auditors" in said
    assert not list(shell.directory.glob("*.invitation.json"))
    shell.run("ada", "trust", "invite", "--csv", "team.csv", "--new-group", "auditors")
    invited = [json.loads((shell.directory / f"{who}.invitation.json").read_text()) for who in ("cyd", "dan")]
    assert [one["groups"] for one in invited] == [["releasers", "auditors"], ["auditors"]]
