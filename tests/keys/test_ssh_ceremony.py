"""A member whose key is an SSH key, by the command line: enrolled through its public file or the agent, approving with it."""

from __future__ import annotations

import os
import signal
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.members import People


@pytest.fixture
def people(tmp_path: Path) -> Iterator[People]:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bob", "-f", tmp_path / "id"], check=True)
    started = subprocess.run(["ssh-agent", "-a", tmp_path / "agent"], capture_output=True, text=True, check=True).stdout
    yield People(tmp_path, {"SSH_AUTH_SOCK": str(tmp_path / "agent")})
    os.kill(int(started.split("SSH_AGENT_PID=")[1].split(";")[0]), signal.SIGTERM)


@pytest.mark.parametrize("by_agent", [True, False], ids=["by the agent", "by its file"])
def test_a_member_is_enrolled_with_an_ssh_key_and_approves_with_it(people: People, by_agent: bool) -> None:
    place = people.place
    people.found()
    accept = ("trust", "accept", "bob.invitation.json", "--member-key", "ssh:id.pub")
    if by_agent:
        (place / "id").rename(place / "away")
        assert people.refused("bob", *accept, status=2) == "ssh-key-absent"
        subprocess.run(["ssh-add", "-q", place / "away"], env={"SSH_AUTH_SOCK": str(place / "agent")}, check=True)
        (place / "away").unlink()
    assert people.refused("bob", *accept[:-1], "ssh:id", status=2) == "key-spec"
    people.by("bob", *accept)
    (own,) = tomllib.loads((place / "bob" / "config.toml").read_text())["keys"]
    assert (own["kind"], own.get("file")) == ("ssh", None if by_agent else str(place / "id"))
    assert not (place / "bob" / "keys" / "member.pem").exists()
    people.publish()
    with people.served():
        request = people.ask()
        assert people.refused("bob", "approve", request, "--yes", "--key", "webauthn", status=2) == "key-unknown"
        people.by("bob", "approve", request, "--yes")
        assert people.by("ada", "grant", "show", request)["live"]["approvers"] == ["bob"]
