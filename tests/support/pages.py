"""Run a page of docs/ as it stands: its ```sh blocks, in one shell, from top to bottom, in a directory of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

__all__ = ["run_page"]

DOCS = Path(__file__).resolve().parents[2] / "docs"


def run_page(
    page: str,
    tmp_path: Path,
    *,
    timeout_s: int = 300,
    programs: Path | None = None,
    environment: Mapping[str, str] = MappingProxyType({}),
    files: Mapping[str, str] = MappingProxyType({}),
    changed: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Run `page` (a path below docs/), and give what it printed; fails unless every command of it succeeds.

    `programs` is a directory of commands that stand for somebody who is not there: an attacker, another system. `environment` is
    added; `files` lie there when it begins. `changed` words of commands and files are others here: ports and places of a machine.
    """
    commands = re.findall(r"^```sh\n(.*?)^```$", (DOCS / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert commands, page
    place = tmp_path / "a directory with spaces"
    place.mkdir()
    for name, text in files.items():
        (place / name).write_text(_changed(text, changed))
    said = {name: text for name, text in os.environ.items() if not name.startswith("KEYTURN_")}
    said["PATH"] = f"{Path(sys.executable).parent}:{said['PATH']}"
    if programs is not None:
        said["PATH"] = f"{programs}:{said['PATH']}"
    said["HOME"] = str(tmp_path)  # nothing may rest on who runs this
    child = subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", _changed("\n".join(commands), changed)],
        cwd=place,
        env=said | dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = child.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)  # and whatever it left in the background, which has its output open
        output, _ = child.communicate()
        raise AssertionError(f"expected the page to end within {timeout_s} s:\n{output}") from None
    assert child.returncode == 0, output
    assert "internal-error" not in output
    assert "Traceback" not in output
    return output


def _changed(text: str, words: Mapping[str, str]) -> str:
    for old, new in words.items():
        text = text.replace(old, new)
    return text
