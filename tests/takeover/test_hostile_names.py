"""Taken: the service, or the directory, that gives the names which a shell offers. It stops no shell, and prints nothing."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from support.commands import KEYTURN

SOON_S = 20.0
"""Two seconds, and a start of the program on a busy machine; each of these texts took minutes, or a traceback."""


@pytest.mark.parametrize(
    "roster",
    [
        pytest.param(f"{'.'.join(['a'] * 60_000)} = 1", id="a key of many parts"),
        pytest.param(f"a = {'[' * 5000}", id="deep lists"),
        pytest.param(f"a = {'{a=' * 5000}", id="deep tables"),
    ],
)
def test_a_text_that_takes_minutes_to_read_is_silence_soon(tmp_path: Path, roster: str) -> None:
    (tmp_path / "keyturn.toml").write_text('version = 1\nlab = "acme.example"\n')
    for directory in ("metadata", "targets"):
        (tmp_path / "trust" / directory).mkdir(parents=True)
    listed = '{"signed":{"targets":{"roster.toml":{"hashes":{"sha256":"00"}}}}}'
    (tmp_path / "trust" / "metadata" / "1.targets.json").write_text(listed)
    (tmp_path / "trust" / "targets" / "00.roster.toml").write_text(roster)
    line = "keyturn trust suspend --member "
    asked = {
        "_KEYTURN_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(line.count(" ")),
        "KEYTURN_LAB": str(tmp_path),
        "KEYTURN_HOME": str(tmp_path / "home"),
    }
    begun = time.monotonic()
    done = subprocess.run([*KEYTURN], env=os.environ | asked, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, [], "")
    assert time.monotonic() - begun < SOON_S
