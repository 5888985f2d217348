"""`keyturn ssh --bastion`: one command asks the bastion for its key, coworkers for their yes, and comes in through it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from support.bastions import Bastion
from support.hosts import HostsLab
from support.processes import running, wait_for

KEYTURN = (sys.executable, "-m", "keyturn")


def test_one_command_comes_in_through_the_bastion_and_says_who_records(lab: HostsLab, bastion: Bastion) -> None:
    ada, bob = (bastion.home(member) for member in ("ktada", "bob"))
    # Nothing is asked about the bastion's own key: its gate's key, which the lab signed, says which it is.
    words = [
        *KEYTURN,
        "ssh",
        "--bastion",
        "front",
        "--address",
        "127.0.0.1",
        "-p",
        str(bastion.port),
        "-o",
        "BatchMode=yes",
    ]
    words += ["--reason", "disk full", "--yes", "gpu1", "id", "-un"]
    with running(words, environment=ada) as asking:
        request = asking.wait_for_line(": asked").split("req-")[1][:32]
        assert f"keyturn://{lab.lab.name}/gate/front" in asking.output, "the person sees before he signs who records"
        approve = [*KEYTURN, "approve", f"req-{request}", "--reason", "fine", "--yes"]
        approved = subprocess.run(approve, env={**os.environ, **bob}, capture_output=True, text=True, timeout=60)
        assert approved.returncode == 0, approved.stderr
        assert "/gate/front" in approved.stderr, "and so does whoever approves"
        assert asking.wait() == 0, asking.describe()
        assert "ktada" in asking.output.splitlines()

    def recorded() -> bool | None:
        paths = bastion.recordings.glob("*.recording")
        return any(bastion.header(path).request.startswith(request) for path in paths) or None

    wait_for("the recording", recorded, bastion.process)
    unknown = [word if word != "front" else "gpu1" for word in words]
    refused = subprocess.run(unknown, env={**os.environ, **ada}, capture_output=True, text=True, timeout=60)
    assert refused.returncode == 3
    assert "no address of the bastion `gpu1` is known" in refused.stderr


def test_a_keyholder_makes_a_key_under_a_passphrase_and_never_over_another(tmp_path: Path) -> None:
    words = [*KEYTURN, "gate", "bastion", "new-key", "--out", str(tmp_path / "carol.key")]
    bare = {name: value for name, value in os.environ.items() if name != "KEYTURN_PASSPHRASE_FILE"}
    assert subprocess.run(words, env=bare, capture_output=True).returncode == 2
    (tmp_path / "secret").write_text("correct horse\n")
    locked = {**bare, "KEYTURN_PASSPHRASE_FILE": str(tmp_path / "secret")}
    assert subprocess.run(words, env=locked, capture_output=True).returncode == 0
    made = (tmp_path / "carol.key").read_bytes()
    assert made.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY")
    assert subprocess.run(words, env=locked, capture_output=True).returncode == 2
    assert (tmp_path / "carol.key").read_bytes() == made
