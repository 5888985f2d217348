"""Run a page of docs/ as it stands: its ```sh blocks, in one shell, from top to bottom, in a directory of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

__all__ = ["run_page"]

DOCS = Path(__file__).resolve().parents[2] / "docs"


def run_page(page: str, tmp_path: Path, *, timeout_s: int = 300, programs: Path | None = None) -> str:
    """Run `page` (a path below docs/), and give what it printed; fails unless every command of it succeeds.

    `programs` is a directory of commands that stand for somebody who is not there: an attacker, another system.
    """
    commands = re.findall(r"^```sh\n(.*?)^```$", (DOCS / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert commands, page
    place = tmp_path / "a directory with spaces"
    place.mkdir()
    environment = {name: text for name, text in os.environ.items() if not name.startswith("KEYTURN_")}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    if programs is not None:
        environment["PATH"] = f"{programs}:{environment['PATH']}"
    environment["HOME"] = str(tmp_path)  # nothing may rest on who runs this
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(commands)],
        cwd=place,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout_s,
    )
    assert done.returncode == 0, done.stdout
    assert "internal-error" not in done.stdout
    assert "Traceback" not in done.stdout
    return done.stdout
