"""docs/first-lab.md is run as it stands: its commands, one shell, from top to bottom."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "first-lab.md"


def commands() -> str:
    return "\n".join(re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL))


def test_the_first_hour_works_as_it_is_written(tmp_path: Path) -> None:
    place = tmp_path / "a directory with spaces"
    place.mkdir()
    environment = {name: text for name, text in os.environ.items() if not name.startswith("KEYTURN_")}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    environment["HOME"] = str(tmp_path)  # nothing may rest on who runs this
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands()],
        cwd=place,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    for said in (
        "acme.example is founding",
        "evaluation PASSED",
        "got 0 of 1 approvals; missing: 1 of `owners`",
        "[approver-concerned]",
        "who could still approve: bob",
        "released dirHash:",
        "VERIFIED: `model` is the released model",
        "[model-other-files]",
        "exit status 1: these are not the released files",
        "member:ada until 20",
        "verified   ",
    ):
        assert said in done.stdout, f"{said}\n\n{done.stdout}"
    assert "internal-error" not in done.stdout
    assert "Traceback" not in done.stdout
