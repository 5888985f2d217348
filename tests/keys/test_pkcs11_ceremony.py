"""A member whose key is on a token, by the command line: enrolled, asked for the PIN, approving, against services that run."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from keyturn.crypto.signers import SoftwareKey
from keyturn.formats import dsse
from keyturn.formats.digest import sha256
from keyturn.formats.uri import Uri
from keyturn.grants.recovery import verify_recovery
from keyturn.trust.metadata import parse_root
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
    accept = ("trust", "accept", "bob.invitation.json", "--member-key", token.uri())
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
    accept = ("trust", "accept", "bob.invitation.json", "--member-key", "software", "--member-key")
    assert people.refused("bob", *accept, token.uri("none")) == "pkcs11-key-missing"
    assert people.refused("bob", *accept, "hsm:none", status=2) == "key-spec"
    assert people.refused("bob", *accept, "software") == "key-exists"
    assert not (tmp_path / "bob").exists()
    people.by("bob", *accept, token.uri())
    own = tomllib.loads((tmp_path / "bob" / "config.toml").read_text())["keys"]
    assert [one["kind"] for one in own] == ["software", "pkcs11"]
    assert sorted(path.name for path in (tmp_path / "bob" / "keys").iterdir()) == ["member.pem", "trust.pem"]


def test_a_lab_is_founded_and_changed_with_trust_keys_on_tokens_alone(token: SoftToken, tmp_path: Path) -> None:
    for label, curve in (("ada-trust", "p256"), ("bob-trust", "ed25519"), ("bob-member", "p256")):
        token.make_key(curve, label)
    people = People(tmp_path)
    init = (
        "init",
        "lab",
        "--profile",
        "production",
        "--name",
        "acme.example",
        "--member",
        "ada",
        "--group",
        "security",
    )
    keys = ("--member-key", token.uri("sign"), "--trust-key", token.uri("ada-trust"))
    assert people.refused("ada", *init, "--witness", "north", *keys, status=3) == "pin-no-terminal"
    people.pin()
    assert people.refused("ada", *init, "--witness", "north", "--member-key", "passkey", status=2) == "key-kind"
    people.by("ada", *init, *(word for name in ("north", "south", "west") for word in ("--witness", name)), *keys)
    home = tomllib.loads((tmp_path / "ada" / "config.toml").read_text())
    assert ([one["label"] for one in home["keys"]], home["trust"]["label"]) == (["sign"], "ada-trust")
    assert not (tmp_path / "ada" / "keys").exists()

    for member, more in (("bob", ("--group", "security")), ("vault", ("--kind", "custodian"))):
        people.by("ada", "trust", "invite", member, *more)
    own = ("--member-key", token.uri("bob-member"), "--trust-key", token.uri("bob-trust"))
    assert (
        people.refused("bob", "trust", "accept", "bob.invitation.json", "--trust-key", "ssh:x", status=2) == "key-spec"
    )
    people.by("bob", "trust", "accept", "bob.invitation.json", *own)
    people.by("vault", "trust", "accept", "vault.invitation.json")
    assert not (tmp_path / "bob" / "keys").exists()
    draft = tmp_path / "lab" / "trust" / "draft" / "log.toml"
    text = draft.read_text()
    for number, name in enumerate(("north", "south", "west")):  # each witness has an operator of its own
        at = text.index(f'name = "{name}"')
        text = text[:at] + text[at:].replace('operator = "service"', f'operator = "other-{number}"', 1)
    draft.write_text(text)
    accepted = tuple(w for one in ("bob", "vault") for w in ("--acceptance", f"{one}.acceptance.json"))
    people.by("ada", "trust", "propose", *accepted)
    people.pin("000000")
    assert people.refused("bob", "trust", "sign", "--yes") == "pkcs11-pin-wrong"
    people.pin()
    assert (
        people.refused("bob", "trust", "sign", "--yes", "--trust-key", token.uri("bob-member")) == "trust-key-unknown"
    )
    assert people.by("ada", "trust", "sign", "--yes")["human"] == "ada"
    assert people.by("bob", "trust", "sign", "--yes", "--trust-key", token.uri("bob-trust"))["human"] == "bob"
    people.by("ada", "trust", "publish")
    listed = people.by("ada", "trust", "log")["versions"]
    assert [one["signed_by"] for one in listed] == [["ada", "bob"], ["ada", "bob"]]


def test_two_holders_recover_with_trust_keys_on_tokens_and_are_asked_for_the_pin_each_time(
    token: SoftToken, tmp_path: Path
) -> None:
    for label, curve in (("ada-trust", "p256"), ("bob-trust", "ed25519")):
        token.make_key(curve, label)
    people = People(tmp_path)
    people.pin()
    init = ("init", "lab", "--profile", "demo", "--name", "acme.example", "--member", "ada")
    people.by("ada", *init, "--trust-key", token.uri("ada-trust"))
    people.by("ada", "trust", "invite", "bob")
    people.by("bob", "trust", "accept", "bob.invitation.json", "--trust-key", token.uri("bob-trust"))
    people.by("ada", "trust", "propose", "--acceptance", "bob.acceptance.json")
    for member in ("ada", "bob"):
        people.by(member, "trust", "sign", "--yes")
    people.by("ada", "trust", "publish")
    pin = sha256((people.lab / "trust" / "root.json").read_bytes())
    for member in ("ada", "bob"):
        people.by(member, "trust", "pin", pin)

    session = SoftwareKey.generate().public
    words = ("recovery", "new", "weights:read", "model/aurora", "--gate", "release", "--beneficiary", "ada", "--yes")
    more = ("--session-key", session.text, "--reason", "nobody can sign in", "--out", "r.json")
    people.pin("000000")
    assert people.refused("ada", *words, *more) == "pkcs11-pin-wrong"
    assert not (people.place / "r.json").exists()
    people.pin()
    assert people.by("ada", *words, *more)["signatures"] == 1
    sign = ("recovery", "sign", "r.json", "--yes")
    people.pin("000000")
    assert people.refused("bob", *sign) == "pkcs11-pin-wrong"
    people.pin()
    assert people.refused("bob", *sign, "--trust-key", token.uri("sign")) == "recovery-signer"
    people.by("bob", *sign)
    shown = people.by("bob", "recovery", "show", "r.json")
    assert shown["signers"] == ["ada", "bob"]
    found = verify_recovery(
        dsse.parse_own((people.place / "r.json").read_bytes()),
        parse_root((people.lab / "trust" / "root.json").read_bytes()),
        now=int(shown["recovery"]["not_before"]),
        gate=Uri("acme.example", "gate", "release"),
        session_key=session,
    )
    assert found.signers == {"ada", "bob"}
