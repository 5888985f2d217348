"""A member whose key is a security key, by the command line without a browser: enrolled, asked for PIN and touch, approving."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

from support.ctaphid import attached, keyturn_with
from support.members import People
from support.security_key import PIN, SecurityKey

TERMINAL = '\n[[signing]]\norigin = "keyturn:acme.example"\nrp_id = "keyturn:acme.example"\n'


def test_a_member_is_enrolled_with_a_security_key_and_approves_with_it(tmp_path: Path) -> None:
    key, other = SecurityKey(), SecurityKey(touched=False)
    with attached(key, tmp_path / "key") as command, attached(other, tmp_path / "other"):
        people = People(tmp_path, command=command)
        people.found()
        accept = ("trust", "accept", "bob.invitation.json", "--member-key", "fido2")
        assert people.refused("bob", *accept) == "signing-page-unlisted"
        roster = people.lab / "trust" / "draft" / "roster.toml"
        without = roster.read_text()
        roster.write_text(without + TERMINAL)
        people.invite_again()
        assert people.refused("bob", *accept, status=3) == "pin-no-terminal"
        people.pin(PIN)
        done = people.run("bob", *accept)
        assert (done.returncode, "touch your security key" in done.stderr) == (0, True), done.stderr
        (own,) = tomllib.loads((tmp_path / "bob" / "config.toml").read_text())["keys"]
        assert (own["kind"], own["rp_id"]) == ("fido2", "keyturn:acme.example")

        propose = ("trust", "propose", "--acceptance", "bob.acceptance.json")
        roster.write_text(without)
        assert people.refused("ada", *propose) == "signing-page-missing"
        roster.write_text(without + TERMINAL)
        people.publish()
        with people.served():
            request = people.ask()
            people.pin("000000")
            assert people.refused("bob", "approve", request, "--yes") == "fido2-pin-wrong"
            people.pin(PIN)
            with_two = replace(people, command=keyturn_with(tmp_path / "other", tmp_path / "key"))
            done = with_two.run("bob", "approve", request, "--yes", "--key", "fido2")
            assert (done.returncode, "touch your security key" in done.stderr) == (0, True), done.stderr
            assert people.by("ada", "grant", "show", request)["live"]["approvers"] == ["bob"]
            assert other.pins_asked == 0
            with_none = replace(people, command=keyturn_with())
            deny = ("deny", request, "--reason", "no", "--yes")
            assert with_none.refused("bob", *deny, status=3) == "fido2-none"


def test_an_agent_and_a_founder_get_no_security_key(tmp_path: Path) -> None:
    people = People(tmp_path, command=keyturn_with())
    people.pin(PIN)
    init = ("init", "lab", "--profile", "demo", "--name", "acme.example", "--member", "ada")
    assert people.refused("ada", *init, "--member-key", "fido2", status=2) == "key-kind"
    people.by("ada", *init)
    people.by("ada", "trust", "invite", "ada+coder", "--kind", "agent")
    accept = ("trust", "accept", "ada+coder.invitation.json", "--member-key", "fido2")
    assert people.refused("coder", *accept, status=2) == "key-kind"
