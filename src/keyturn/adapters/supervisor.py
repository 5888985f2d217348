"""Start a lab's processes in order, each once the one before it serves; stop all of them together.

For one machine (`keyturn up`). It restarts nothing: a process that ends takes the others down with it, so that a lab is
never half there unnoticed. What a process prints goes to `run/<name>.out`, where its last lines are found for the error.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from keyturn.adapters.files import run_files
from keyturn.errors import Conflict, Unavailable

__all__ = ["Process", "Running", "await_end", "started"]

_START_S = 60.0
_STOP_S = 10.0
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Process:
    """A process to start: its name under `run/`, and the arguments of `keyturn` that serve it."""

    name: str
    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Running:
    """A process that serves."""

    name: str
    url: str
    child: subprocess.Popen[bytes] = field(repr=False)


@contextmanager
def started(processes: Sequence[Process], *, run_dir: Path) -> Iterator[tuple[Running, ...]]:
    """Run `processes` for as long as the block runs; `Unavailable` with its last words when one does not start."""
    run_dir.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        running = []
        for process in processes:
            if run_files.find(run_dir, process.name) is not None:
                raise Conflict(
                    "already-running", f"`{process.name}` of this lab runs already", hint="stop the other `keyturn up`"
                )
            child = _start(process, run_dir)
            stack.callback(_stop, child)
            running.append(_await_address(process, child, run_dir))
        yield tuple(running)


def await_end(running: Sequence[Running], stop: threading.Event) -> str | None:
    """Wait until `stop` is set (`None`) or a process ends (its name)."""
    while not stop.wait(_POLL_S * 4):
        for process in running:
            if process.child.poll() is not None:
                return process.name
    return None


def _start(process: Process, run_dir: Path) -> subprocess.Popen[bytes]:
    with (run_dir / f"{process.name}.out").open("wb") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "keyturn", *process.arguments],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for `up`, which stops its children in order
        )


def _await_address(process: Process, child: subprocess.Popen[bytes], run_dir: Path) -> Running:
    for _ in range(int(_START_S / _POLL_S)):
        try:
            status = child.wait(timeout=_POLL_S)
        except subprocess.TimeoutExpired:
            url = run_files.find(run_dir, process.name)
            if url is not None:
                return Running(process.name, url, child)
            continue
        said, hint = _last_words(process, run_dir)
        raise Unavailable(
            "process-not-started",
            f"`{process.name}` ended with status {status} instead of serving: {said}",
            hint=hint or f"keyturn {shlex.join(process.arguments)}",
        )
    raise Unavailable("process-not-started", f"`{process.name}` did not serve within {_START_S:.0f} s")


def _last_words(process: Process, run_dir: Path) -> tuple[str, str]:
    """What the process said last, and what it said to try: it knows better than `up` what it needs."""
    text = (run_dir / f"{process.name}.out").read_text(encoding="utf-8", errors="replace")
    lines = [line.strip() for line in text.strip().split("\n")[-4:]]
    ended = _ended(lines[-1])
    if ended is not None:
        return f"{ended.get('message', '')} [{ended.get('code', '')}]", str(ended.get("hint", ""))
    return " ".join(lines).strip()[-1000:] or "it said nothing", ""


def _ended(line: str) -> dict[str, object] | None:
    """The line of its log (`adapters.process_log`) in which a process says why it ended."""
    try:
        said = json.loads(line)
    except ValueError:
        return None
    return said if isinstance(said, dict) and said.get("event") == "ended" else None


def _stop(child: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(child.pid, signal.SIGTERM)
        child.wait(timeout=_STOP_S)
    except ProcessLookupError:
        child.wait()
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
