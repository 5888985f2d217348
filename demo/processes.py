"""Run the lab's processes with `keyturn up` for as long as the demo needs them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from demo.people import WIDTH, Person, Stop

__all__ = ["lab_running"]

STOP_S = 30.0


@contextmanager
def lab_running(person: Person) -> Iterator[None]:
    """Run `keyturn up` until the block ends; `Stop` when it does not get ready."""
    person.teller.say(f"\n{person.name} $ keyturn up")
    with subprocess.Popen(
        [sys.executable, "-m", "keyturn", "up", "--lab", "lab"],
        cwd=person.teller.out,
        env={**os.environ, "KEYTURN_HOME": str(person.home), "COLUMNS": WIDTH, "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as child:
        try:
            _await_ready(person, child)
            yield
        finally:
            child.send_signal(signal.SIGINT)
            try:
                child.wait(STOP_S)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)


def _await_ready(person: Person, child: subprocess.Popen[str]) -> None:
    assert child.stdout is not None  # it was asked for
    said = []
    for line in child.stdout:
        said.append(line)
        person.teller.say(f"    {line}".rstrip())
        if line.startswith("ready"):
            return
    raise Stop(f"`keyturn up` ended before it was ready: {''.join(said)}")
