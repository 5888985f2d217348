"""People of a lab with hosts, each with a home of his own, who type `keyturn ssh` and approve what another asked for."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from keyturn.adapters.files.key_files import write_key
from keyturn.config import person as person_config
from keyturn.config.person import PersonConfig
from support.hosts import KEYTURN, Host, HostsLab
from support.processes import Process

__all__ = ["Person", "approve"]


class Person:
    """A member with a home, who has the lab's address and its pinned root."""

    def __init__(self, lab: HostsLab, host: Host, place: Path, member: str) -> None:
        home = place / member
        write_key(home / "keys" / "member.pem", lab.lab.member_keys[member], passphrase=None)
        config = PersonConfig(member, lab.url, {lab.lab.name: lab.lab.root_sha256})
        (home / "config.toml").write_bytes(person_config.render(config))
        (home / "run").mkdir(mode=0o700)
        self.place = home
        self.environment = {"KEYTURN_HOME": str(home), "XDG_RUNTIME_DIR": str(home / "run"), "SSH_AUTH_SOCK": ""}
        self.host = host

    def ssh(self, *words: str) -> list[str]:
        options = (
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            f"UserKnownHostsFile={self.place}/known",
            "-o",
            "BatchMode=yes",
        )
        where = ("--address", self.host.address, "-p", str(self.host.port), *options)
        return [*KEYTURN, "ssh", *where, *words]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words,
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=90,
        )


def approve(bob: Person, asking: Process) -> str:
    """Bob approves what the process asked for."""
    request = asking.wait_for_line(": asked").strip().split(":")[0]
    request = next(word.strip('"{}') for word in request.replace('"', " ").split() if word.startswith("req-"))
    done = bob.run(*KEYTURN, "approve", request, "--reason", "fine", "--yes")
    assert done.returncode == 0, done.stderr
    return request
