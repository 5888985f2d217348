"""The people of the demo: each has a home of their own, types `keyturn` commands, and sees what `keyturn` says.

Nothing is simulated: a command is a process of its own, with that person's keys alone. What is shown is what was typed and
what came out, and is kept as the transcript. The demo stops at the first command that ends in another way than it should.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Person", "Stop", "Teller", "shown"]

WIDTH = "118"


class Stop(Exception):
    """The demo cannot go on: a command did not end as it should have."""


@dataclass(slots=True)
class Teller:
    """Tells what happens, and remembers it. Paths are told relative to `out`, which is where everybody works."""

    out: Path
    lines: list[str] = field(default_factory=list)

    def title(self, text: str) -> None:
        """Begin a part."""
        self.say(f"\n== {text} ==")

    def say(self, text: str) -> None:
        """Tell what happens."""
        for line in text.split("\n"):
            told = line.replace(f"{self.out}/", "").rstrip()
            self.lines.append(told)
            print(told, flush=True)

    def transcript(self) -> str:
        """Everything that was told."""
        return "\n".join(self.lines).strip() + "\n"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a home of keys, working in the demo's directory."""

    name: str
    home: Path
    teller: Teller

    def does(self, *words: str | Path, shown: int = 12, expect: int = 0) -> str:
        """Type a command, show it with the first `shown` lines of what it says, and give its standard output."""
        done = self._run(words)
        self._show(words, done.stdout + done.stderr if expect else done.stdout, shown)
        self._check(words, done, expect)
        return done.stdout

    def asks(self, *words: str | Path, shown: bool = True) -> Any:
        """Type a command with `--json`, show the command, and give what it said."""
        done = self._run((*words, "--json"))
        if shown:
            self._show(words, "", 0)
        self._check(words, done, 0)
        return json.loads(done.stdout)

    def is_refused(self, *words: str | Path, shown: int = 8) -> None:
        """Type a command that must be refused (exit 1), and show why it is."""
        self.does(*words, shown=shown, expect=1)

    def _run(self, words: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "KEYTURN_HOME": str(self.home), "COLUMNS": WIDTH, "NO_COLOR": "1"}
        environment.pop("KEYTURN_LAB", None)
        return subprocess.run(
            [sys.executable, "-m", "keyturn", *(str(word) for word in words)],
            cwd=self.teller.out,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )

    def _show(self, words: Sequence[str | Path], output: str, lines_max: int) -> None:
        typed = shlex.join(str(word) for word in words if word != "--yes")
        self.teller.say(f"\n{self.name} $ keyturn {typed}\n{shown(output, lines_max)}".rstrip())

    def _check(self, words: Sequence[str | Path], done: subprocess.CompletedProcess[str], expect: int) -> None:
        if done.returncode != expect:
            raise Stop(
                f"`keyturn {shlex.join(str(word) for word in words)}` by {self.name} ended with {done.returncode}, "
                f"expected {expect}:\n{done.stdout}{done.stderr}"
            )


def shown(output: str, lines_max: int = 60) -> str:
    """The first `lines_max` lines of what a command said, indented."""
    lines = [f"    {line.rstrip()}" for line in output.splitlines() if line.strip()]
    if lines_max and len(lines) > lines_max:
        lines = [*lines[:lines_max], f"    ... {len(lines) - lines_max} more lines"]
    return "\n".join(lines[: lines_max + 1] if lines_max else [])
