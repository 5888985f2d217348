"""A member whose key is on a token, by the command line: enrolled, asked for the PIN, approving, against services that run."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from support.members import People
from support.softhsm import MODULE, SoftToken, make_token


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SoftToken:
    made = make_token(tmp_path)
    monkeypatch.setenv("SOFTHSM2_CONF", str(made.config))
    made.make_key("p256")
    return made


def test_a_member_is_enrolled_with_a_token_and_approves_with_it(token: SoftToken, tmp_path: Path) -> None:
    people = People(tmp_path)
    people.found()
    accept = ("trust", "accept", "bob.invitation.json", "--key", token.uri())
    assert people.refused("bob", *accept, status=3) == "pin-no-terminal"
    assert not (tmp_path / "bob").exists()
    people.pin()
    people.by("bob", *accept)
    own = tomllib.loads((tmp_path / "bob" / "config.toml").read_text())["keys"]
    assert [(one["kind"], one["module"], one["token"], one["label"]) for one in own] == [
        ("pkcs11", MODULE, "ada", "sign")
    ]
    assert not (tmp_path / "bob" / "keys" / "member.pem").exists()

    people.publish()
    with people.served():
        request = people.ask()
        people.pin("000000")
        assert people.refused("bob", "approve", request, "--yes") == "pkcs11-pin-wrong"
        people.pin()
        people.by("bob", "approve", request, "--yes", "--key", "pkcs11")
        people.by("ada", "grant", "bundle", request, "--out", "b.json")
        assert people.by("ada", "grant", "show", request)["live"]["approvers"] == ["bob"]


def test_an_acceptance_that_fails_leaves_nothing_behind_and_is_tried_again(token: SoftToken, tmp_path: Path) -> None:
    people = People(tmp_path)
    people.by("ada", "init", "lab", "--profile", "demo", "--name", "acme.example", "--member", "ada")
    people.by("ada", "trust", "invite", "bob")
    people.pin()
    accept = ("trust", "accept", "bob.invitation.json", "--key", "software", "--key")
    assert people.refused("bob", *accept, token.uri("none")) == "pkcs11-key-missing"
    assert people.refused("bob", *accept, "hsm:none", status=2) == "key-spec"
    assert people.refused("bob", *accept, "software") == "key-exists"
    assert not (tmp_path / "bob").exists()
    people.by("bob", *accept, token.uri())
    own = tomllib.loads((tmp_path / "bob" / "config.toml").read_text())["keys"]
    assert [one["kind"] for one in own] == ["software", "pkcs11"]
    assert sorted(path.name for path in (tmp_path / "bob" / "keys").iterdir()) == ["member.pem", "trust.pem"]
