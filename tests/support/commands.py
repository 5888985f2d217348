"""Type `keyturn` as a person does, without a terminal: in one place, with a home, and with a lab to talk to.

Nothing named KEYTURN_... comes from whoever runs the tests: what a command finds there, its test says.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["KEYTURN", "environment_of", "error_of", "keyturn", "said_by"]

KEYTURN = (sys.executable, "-m", "keyturn")


def environment_of(home: Path, lab: str | Path | None = None) -> dict[str, str]:
    """This process's environment, for the person whose home is `home` and who works with `lab`: a directory or an address."""
    around = {name: text for name, text in os.environ.items() if not name.startswith("KEYTURN_")}
    return around | {"KEYTURN_HOME": str(home)} | ({} if lab is None else {"KEYTURN_LAB": str(lab)})


def keyturn(
    *words: object,
    place: Path,
    home: Path,
    lab: str | Path | None = None,
    environment: Mapping[str, str] | None = None,
    command: Sequence[str] = KEYTURN,
    within_s: float = 90,
) -> subprocess.CompletedProcess[str]:
    """Type `words` in the directory `place`, and give what came of it; `environment` is added to that of the person."""
    return subprocess.run(
        [*command, *map(str, words)],
        cwd=place,
        env=environment_of(home, lab) | dict(environment or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=within_s,
        check=False,
        start_new_session=True,
    )


def said_by(done: subprocess.CompletedProcess[str]) -> Any:
    """What a command with --json said, which must have succeeded."""
    assert done.returncode == 0, (done.args, done.stdout, done.stderr)
    return json.loads(done.stdout)


def error_of(done: subprocess.CompletedProcess[str], *, status: int = 1) -> dict[str, Any]:
    """The error that a command with --json ended with, which must be with this exit status."""
    assert done.returncode == status, (done.args, done.stdout, done.stderr)
    return dict(json.loads(done.stderr.splitlines()[-1])["error"])
