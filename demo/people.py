"""The people of the demo: each has a home of their own, types `keyturn` commands, and sees what `keyturn` says.

Nothing is simulated: a command is a process of its own, with that person's keys alone. What is shown is what was typed and
what came out. The demo stops at the first command that ends in another way than it should.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Person", "Stop", "say", "title"]


class Stop(Exception):
    """The demo cannot go on: something did not end as it should have."""


def title(text: str) -> None:
    """Begin a part."""
    say(f"\n== {text} ==")


def say(text: str) -> None:
    """Tell what happens."""
    print(text, flush=True)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a home of keys, working in `place`."""

    name: str
    home: Path
    place: Path

    def does(self, *words: str | Path, shown: int = 12, expect: int = 0) -> str:
        """Type a command, show it with the first `shown` lines of what it says, and give its standard output."""
        done = self._run(words)
        self._show(words, done.stdout + done.stderr if expect else done.stdout, shown)
        self._check(words, done, expect)
        return done.stdout

    def asks(self, *words: str | Path, shown: bool = True) -> Any:
        """Type a command, show it, and give what it said with `--json`."""
        done = self._run((*words, "--json"))
        if shown:
            self._show(words, "", 0)
        self._check(words, done, 0)
        return json.loads(done.stdout)

    def is_refused(self, *words: str | Path, shown: int = 10) -> None:
        """Type a command that must be refused (exit 1), and show why it is."""
        self.does(*words, shown=shown, expect=1)

    def _run(self, words: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "KEYTURN_HOME": str(self.home), "COLUMNS": "118", "NO_COLOR": "1"}
        return subprocess.run(
            [sys.executable, "-m", "keyturn", *(str(word) for word in words)],
            cwd=self.place,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )

    def _show(self, words: Sequence[str | Path], output: str, lines_max: int) -> None:
        say(f"\n{self.name} $ keyturn {shlex.join(str(word) for word in words)}")
        lines = [line.rstrip() for line in output.splitlines() if line.strip()]
        for line in lines[:lines_max]:
            say(f"    {line}")
        if lines_max and len(lines) > lines_max:
            say(f"    ... {len(lines) - lines_max} more lines")

    def _check(self, words: Sequence[str | Path], done: subprocess.CompletedProcess[str], expect: int) -> None:
        if done.returncode != expect:
            raise Stop(
                f"`keyturn {shlex.join(str(word) for word in words)}` by {self.name} ended with {done.returncode}, "
                f"expected {expect}:\n{done.stdout}{done.stderr}"
            )
