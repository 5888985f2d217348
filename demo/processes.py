"""Run the lab's processes with `keyturn up` for as long as the demo needs them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from demo.people import Person, Stop, say

__all__ = ["lab_running"]

STOP_S = 30.0


@contextmanager
def lab_running(person: Person, lab: Path) -> Iterator[None]:
    """Run `keyturn up` on `lab` until the block ends; `Stop` when it does not get ready."""
    say(f"\n{person.name} $ keyturn up --lab lab")
    child = subprocess.Popen(
        [sys.executable, "-m", "keyturn", "up", "--lab", str(lab)],
        cwd=person.place,
        env={**os.environ, "KEYTURN_HOME": str(person.home), "COLUMNS": "118", "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        start_new_session=True,
    )
    try:
        _await_ready(child)
        yield
    finally:
        child.send_signal(signal.SIGINT)
        try:
            child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        if child.stdout is not None:
            child.stdout.close()


def _await_ready(child: subprocess.Popen[str]) -> None:
    assert child.stdout is not None  # it was asked for
    for line in child.stdout:
        say(f"    {line.rstrip()}")
        if line.startswith("ready"):
            return
    raise Stop("`keyturn up` ended before it was ready")
