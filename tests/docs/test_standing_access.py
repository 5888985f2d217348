"""docs/guide/standing-access.md is run as it stands: its commands, one shell, top to bottom, on a host, server, repository."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.host_image import made_image
from support.members import People
from support.postgresql import Cluster

pytestmark = pytest.mark.timeout(600)

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guide" / "standing-access.md"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"


def test_the_guide_works_as_it_is_written(cluster: Cluster, tmp_path: Path) -> None:
    image = made_image(tmp_path / "gpu1")
    image.write("/root/.ssh/authorized_keys", f"{KEY} eve@old-laptop\n")
    image.write("/etc/sudoers.d/ops", "bob ALL=(ALL) ALL\n", mode=0o440)
    subprocess.run(["git", "init", "-q", "--bare", tmp_path / "model.git"], check=True)
    people = People(tmp_path)
    people.found()
    people.by("bob", "trust", "accept", "bob.invitation.json")
    people.publish()
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("KEYTURN_", "PG"))}
    environment |= {
        "PATH": f"{Path(sys.executable).parent}:{environment['PATH']}",
        "HOME": str(tmp_path),
        "KEYTURN_HOME": str(tmp_path / "ada"),
        "KEYTURN_LAB": str(tmp_path / "lab"),
        "SERVER": f"postgresql://admin@/postgres?host={cluster.directory}",
    }
    commands = "\n".join(re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL))
    with people.served():
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    assert done.returncode == 0, done.stdout
    for said in (
        "eve@old-laptop",
        "closed since the last scan: ssh-key at /root/.ssh/authorized_keys",
        "half-accepted by ada until",
        "accepted by ada, bob until",
        "signed by bob, key ",
        "[acceptance-no-lab]",
        "pg-superuser",
        "git-unprotected",
        "postgres:main:",
    ):
        assert said in done.stdout, done.stdout
    assert done.stdout.count("exit status 1") == 3
    assert "Traceback" not in done.stdout
