"""Run the commands of a documentation page as they stand: one shell, from top to bottom, in an empty directory.

A page shows what its commands print in blocks of `text`: each of their lines is looked for in what they do print, in that order,
where `…` stands for whatever differs each time.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

__all__ = ["run_page"]

DOCS = Path(__file__).resolve().parents[2] / "docs"


def run_page(
    page: str,
    tmp_path: Path,
    *,
    after: tuple[str, ...] = (),
    timeout_s: int = 300,
    programs: Path | None = None,
    environment: Mapping[str, str] = MappingProxyType({}),
    files: Mapping[str, str] = MappingProxyType({}),
    changed: Mapping[str, str] = MappingProxyType({}),
    browse: Callable[[str], None] | None = None,
) -> str:
    """Run `page` (a path below docs/) behind the pages `after`, and give what it printed; fails unless every command succeeds.

    `programs` is a directory of commands that stand for somebody who is not there: an attacker, another system. `environment` is
    added; `files` lie there when it begins. `changed` words of commands and files are others here: ports and places of a machine.
    `browse` is who sits at the browser, and opens what commands ask it to open.
    """
    texts = {name: (DOCS / name).read_text(encoding="utf-8") for name in (*after, page)}
    commands = [block for name in texts for block in _blocks(texts[name], "sh")]
    assert list(_blocks(texts[page], "sh")), page
    place = tmp_path / "a directory with spaces"
    place.mkdir()
    for name, text in files.items():
        (place / name).write_text(_changed(text, changed))
    opened, printed = tmp_path / "opened", tmp_path / "printed"
    opened.write_text("")
    browser = tmp_path / "browser"
    browser.write_text(f"#!/bin/sh\necho \"$1\" >> '{opened}'\n")
    browser.chmod(0o755)
    around = {name: text for name, text in os.environ.items() if not name.startswith("KEYTURN_")}
    around["PATH"] = f"{Path(sys.executable).parent}:{around['PATH']}"
    if programs is not None:
        around["PATH"] = f"{programs}:{around['PATH']}"
    around["HOME"] = str(tmp_path)  # nothing may rest on who runs this
    around["BROWSER"] = str(browser)
    with (
        printed.open("wb") as output,
        subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", _changed("\n".join(commands), changed)],
            cwd=place,
            env=around | dict(environment),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as shell,
    ):
        try:
            _wait(shell, opened, browse, timeout_s=timeout_s)
        except BaseException:
            os.killpg(shell.pid, signal.SIGKILL)
            print(printed.read_text())
            raise
    said = printed.read_text()
    assert shell.returncode == 0, said
    assert "internal-error" not in said
    assert "Traceback" not in said
    _require_shown(texts[page], said)
    return said


def _changed(text: str, words: Mapping[str, str]) -> str:
    for old, new in words.items():
        text = text.replace(old, new)
    return text


def _wait(
    shell: subprocess.Popen[bytes], opened: Path, browse: Callable[[str], None] | None, *, timeout_s: int
) -> None:
    """Wait until `shell` ends, and open what it asks to have opened."""
    if browse is None:
        shell.wait(timeout_s)
        return
    seen, until = 0, time.monotonic() + timeout_s
    while shell.poll() is None:
        assert time.monotonic() < until, f"no end within {timeout_s} s"
        for url in opened.read_text().split()[seen:]:
            seen += 1
            browse(url)
        with suppress(subprocess.TimeoutExpired):
            shell.wait(0.05)


def _blocks(text: str, kind: str) -> Iterator[str]:
    yield from re.findall(rf"^```{kind}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def _require_shown(page: str, said: str) -> None:
    """Fail unless the lines of the page's `text` blocks are in what it printed, in their order."""
    printed = iter(said.splitlines())
    for line in (line for block in _blocks(page, "text") for line in block.splitlines() if line.strip()):
        pattern = re.compile(".*".join(re.escape(part) for part in line.split("…")))
        assert any(pattern.fullmatch(one) for one in printed), (
            f"the page shows, and nothing printed then:\n{line}\n\n{said}"
        )
