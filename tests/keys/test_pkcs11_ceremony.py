"""A member whose key is on a token, by the command line: enrolled, asked for the PIN, approving, against services that run."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from keyturn.crypto.signers import SoftwareKey
from support.processes import running, wait_for_file
from support.softhsm import MODULE, PIN, SoftToken, make_token

KEYTURN = (sys.executable, "-m", "keyturn")
POLICY = """
@id("weights-read") @quorum("1 security") @duration_max("2h") @pending_max("8h")
permit (principal in Group::"research", action == Action::"weights:read", resource in Model::"aurora");
"""
RESOURCES = 'version = 1\n\n[[resources]]\nuri = "keyturn://acme.example/model/aurora"\n'


@dataclass
class People:
    """Members with a home each, in one place. There is no terminal: a PIN comes from a file, or from nowhere."""

    place: Path
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, member: str, *words: str) -> subprocess.CompletedProcess[str]:
        names = {"KEYTURN_HOME": str(self.place / member), "KEYTURN_LAB": str(self.place / "lab")}
        return subprocess.run(
            [*KEYTURN, *words, "--json"],
            cwd=self.place,
            env={**os.environ, **names, **self.environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            start_new_session=True,
        )

    def by(self, member: str, *words: str) -> Any:
        done = self.run(member, *words)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return json.loads(done.stdout)

    def refused(self, member: str, *words: str) -> str:
        done = self.run(member, *words)
        assert done.returncode != 0, (words, done.stdout)
        return str(json.loads(done.stderr.splitlines()[-1])["error"]["code"])

    def pin(self, value: str = PIN) -> None:
        path = self.place / "pin"
        path.write_text(value)
        path.chmod(0o600)
        self.environment["KEYTURN_PIN_FILE"] = str(path)


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SoftToken:
    made = make_token(tmp_path)
    monkeypatch.setenv("SOFTHSM2_CONF", str(made.config))
    made.make_key("p256")
    return made


def test_a_member_is_enrolled_with_a_token_and_approves_with_it(token: SoftToken, tmp_path: Path) -> None:
    people = People(tmp_path)
    init = ("init", "lab", "--profile", "demo", "--name", "acme.example", "--member", "ada", "--full-name", "Ada")
    people.by("ada", *init, "--group", "research", "--witness", "north")
    people.by("ada", "trust", "invite", "bob", "--group", "security")
    accept = ("trust", "accept", "bob.invitation.json", "--key", token.uri())
    assert people.refused("bob", *accept) == "pin-no-terminal"
    assert not (tmp_path / "bob").exists()
    people.pin()
    people.by("bob", *accept)
    own = tomllib.loads((tmp_path / "bob" / "config.toml").read_text())["keys"]
    assert [(one["kind"], one["module"], one["token"], one["label"]) for one in own] == [
        ("pkcs11", MODULE, "ada", "sign")
    ]
    assert not (tmp_path / "bob" / "keys" / "member.pem").exists()

    draft = tmp_path / "lab" / "trust" / "draft"
    (draft / "policy").mkdir(exist_ok=True)
    (draft / "policy" / "main.cedar").write_text(POLICY)
    (draft / "resources.toml").write_text(RESOURCES)
    people.by("ada", "trust", "propose", "--acceptance", "bob.acceptance.json")
    for member in ("ada", "bob"):
        people.by(member, "trust", "sign", "--yes")
    people.by("ada", "trust", "publish")
    for member in ("ada", "bob"):
        people.by(member, "trust", "pin", hashlib.sha256((tmp_path / "lab/trust/root.json").read_bytes()).hexdigest())

    run = tmp_path / "lab" / "run"
    served = {"KEYTURN_HOME": str(tmp_path / "ada")}
    with running([*KEYTURN, "witness", "serve", "north", "--lab", tmp_path / "lab"], environment=served) as witness:
        wait_for_file(run / "witness-north.json", witness)
        with running([*KEYTURN, "log", "serve", "--lab", tmp_path / "lab"], environment=served) as log:
            wait_for_file(run / "log.json", log)
            wait_for_file(tmp_path / "lab" / "log" / "checkpoint", log)
            _approves(people)


def test_an_acceptance_that_fails_leaves_nothing_behind_and_is_tried_again(token: SoftToken, tmp_path: Path) -> None:
    people = People(tmp_path)
    people.by("ada", "init", "lab", "--profile", "demo", "--name", "acme.example", "--member", "ada")
    people.by("ada", "trust", "invite", "bob")
    people.pin()
    accept = ("trust", "accept", "bob.invitation.json", "--key", "software", "--key")
    assert people.refused("bob", *accept, token.uri("none")) == "pkcs11-key-missing"
    assert people.refused("bob", *accept, "hsm:none") == "key-spec"
    assert people.refused("bob", *accept, "software") == "key-exists"
    assert not (tmp_path / "bob").exists()
    people.by("bob", *accept, token.uri())
    own = tomllib.loads((tmp_path / "bob" / "config.toml").read_text())["keys"]
    assert [one["kind"] for one in own] == ["software", "pkcs11"]
    assert sorted(path.name for path in (tmp_path / "bob" / "keys").iterdir()) == ["member.pem", "trust.pem"]


def _approves(people: People) -> None:
    session = SoftwareKey.generate().public.text
    words = ("weights:read", "model/aurora", "--gate", "gate/release", "--reason", "a look", "--duration", "30m")
    request = people.by("ada", "request", *words, "--session-key", session, "--yes")["id"]
    people.pin("000000")
    assert people.refused("bob", "approve", request, "--yes") == "pkcs11-pin-wrong"
    people.pin()
    people.by("bob", "approve", request, "--yes", "--key", "pkcs11")
    people.by("ada", "grant", "bundle", request, "--out", "b.json")
    assert people.by("ada", "grant", "show", request)["approvers"] == ["bob"]
