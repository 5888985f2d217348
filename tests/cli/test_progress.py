"""What takes long says how far it is on a real terminal, and nothing to programs and files."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

import pytest

from support.commands import KEYTURN, environment_of


def drawn(words: list[str], place: Path) -> tuple[str, str]:
    """What `keyturn *words` wrote to a terminal as its standard error, and to a pipe as its standard output."""
    ours, its = pty.openpty()
    done = subprocess.Popen(
        [*KEYTURN, *words],
        cwd=place,
        env=environment_of(place / "home", place) | {"TERM": "xterm"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=its,
        text=True,
    )
    os.close(its)
    said = b""
    while True:
        try:
            chunk = os.read(ours, 1 << 16)
        except OSError:  # EIO: nobody has the other end any more
            break
        said += chunk
    os.close(ours)
    assert done.stdout is not None
    out = done.stdout.read()
    done.stdout.close()
    done.wait(60)
    return said.decode(), out


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["step", "digest", "big"], id="step digest"),
        pytest.param(["verify", "big", "--pack", "pack", "--root", "root"], id="verify"),
        pytest.param(["lineage", "show", "big"], id="lineage show"),
    ],
)
def test_hashing_is_seen_on_a_terminal_and_not_with_json(tmp_path: Path, words: list[str]) -> None:
    with (tmp_path / "big").open("wb") as file:
        file.truncate(1 << 20)
    assert "hashing big" in drawn(words, tmp_path)[0]
    terminal, out = drawn([*words, "--json"], tmp_path)
    assert "hashing big" not in terminal + out
    assert "\x1b" not in terminal + out
