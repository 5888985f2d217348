"""Start real processes for a test, wait until they are ready, and stop them with all their children.

Nothing sleeps: a wait ends when a process says a line, ends, or answers, and at the deadline at the latest; then the test
fails with what the process printed. Every process is the leader of its own group, so that nothing outlives its test.

    with running([sys.executable, "-m", "keyturn", "witness", "serve", ...]) as process:
        wait_for_file(lab / "run" / "witness-north.json", process)
        process.kill()          # as a crash does: SIGKILL to the whole group
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

__all__ = ["Process", "running", "wait_for", "wait_for_file", "wait_for_url"]

DEADLINE_S = 60.0
_TICK_S = 0.02

T = TypeVar("T")


class Process:
    """One running process, the leader of its own group. Made by `running`."""

    def __init__(self, child: subprocess.Popen[bytes], arguments: Sequence[str]) -> None:
        self.child = child
        self.arguments = tuple(arguments)
        self._output = bytearray()

    @property
    def pid(self) -> int:
        return self.child.pid

    @property
    def output(self) -> str:
        """What it has printed so far, on standard output and standard error."""
        self._read(0.0)
        return self._output.decode("utf-8", "replace")

    @property
    def alive(self) -> bool:
        return self.child.poll() is None

    def wait_for_line(self, text: str, *, deadline_s: float = DEADLINE_S) -> str:
        """Read its output until a whole line contains `text`, and return that line."""
        end = time.monotonic() + deadline_s
        while True:
            *lines, _ = self._output.split(b"\n")
            for line in lines:
                if text.encode() in line:
                    return line.decode("utf-8", "replace")
            left = end - time.monotonic()
            if left <= 0 or not self._read(left):
                raise AssertionError(f"expected a line with {text!r} within {deadline_s} s; {self.describe()}")

    def wait(self, *, deadline_s: float = DEADLINE_S) -> int:
        """Wait until it ends, and return its status."""
        end = time.monotonic() + deadline_s
        while self._read(max(end - time.monotonic(), 0.0)):
            if time.monotonic() >= end:
                raise AssertionError(f"expected the process to end within {deadline_s} s; {self.describe()}")
        return self.child.wait(max(end - time.monotonic(), 0.1))

    def tick(self, seconds: float = _TICK_S) -> None:
        """Give it a moment: returns when it prints, when it ends, or after `seconds`."""
        if not self._read(seconds):
            with suppress(subprocess.TimeoutExpired):
                self.child.wait(seconds)

    def signal(self, number: signal.Signals) -> None:
        """Send `number` to the whole group."""
        with suppress(ProcessLookupError):
            os.killpg(self.child.pid, number)

    def kill(self) -> int:
        """End the whole group at once, as a crash or a loss of power does; return the leader's status."""
        self.signal(signal.SIGKILL)
        return self.child.wait(DEADLINE_S)

    def stop(self, *, deadline_s: float = 10.0) -> int:
        """Ask the group to end (SIGTERM), insist at the deadline, and return the leader's status."""
        self.signal(signal.SIGTERM)
        try:
            status = self.child.wait(deadline_s)
        except subprocess.TimeoutExpired:
            status = self.kill()
        self.signal(signal.SIGKILL)  # children that it left behind
        return status

    def describe(self) -> str:
        """Say what it is, how it stands and what it printed last, for a failure's text."""
        status = self.child.poll()
        read = -1
        while status is not None and read != len(self._output):  # its last words
            read = len(self._output)
            self._read(0.1)
        state = "still runs" if status is None else f"ended with status {status}"
        return f"`{' '.join(self.arguments)}` {state} and printed:\n{self._output.decode('utf-8', 'replace')[-4000:]}"

    def close(self) -> None:
        """Stop it and release its pipe."""
        self.stop()
        if self.child.stdout is not None:
            self.child.stdout.close()

    def _read(self, seconds: float) -> bool:
        """Read what comes within `seconds`; false at the end of its output."""
        pipe = self.child.stdout
        if pipe is None or pipe.closed:
            return False
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            if not selector.select(seconds):
                return True
        chunk = os.read(pipe.fileno(), 1 << 16)
        self._output += chunk
        return bool(chunk)


@contextmanager
def running(
    arguments: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Process]:
    """Run a process for as long as the block runs. `environment` is added to this process's own."""
    words = [str(word) for word in arguments]
    child = subprocess.Popen(
        words,
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    process = Process(child, words)
    try:
        yield process
    finally:
        process.close()


def wait_for(
    what: str, probe: Callable[[], T | None], process: Process | None = None, *, deadline_s: float = DEADLINE_S
) -> T:
    """Call `probe` until it gives something that is not `None`; fail at the deadline, or when `process` ends first."""
    end = time.monotonic() + deadline_s
    pause = selectors.DefaultSelector()
    try:
        while True:
            ended = process is not None and not process.alive
            found = probe()
            if found is not None:
                return found
            said = process.describe() if process is not None else ""
            if ended:
                raise AssertionError(f"expected {what}; {said}")
            if time.monotonic() >= end:
                raise AssertionError(f"expected {what} within {deadline_s} s; {said}")
            if process is not None:
                process.tick()
            else:
                pause.select(_TICK_S)
    finally:
        pause.close()


def wait_for_file(path: Path, process: Process | None = None, *, deadline_s: float = DEADLINE_S) -> bytes:
    """Wait until `path` exists and is not empty; return its content."""

    def probe() -> bytes | None:
        try:
            return path.read_bytes() or None
        except FileNotFoundError:
            return None

    return wait_for(f"the file `{path}`", probe, process, deadline_s=deadline_s)


def wait_for_url(url: str, process: Process | None = None, *, deadline_s: float = DEADLINE_S) -> int:
    """Wait until `url` answers anything at all; return the HTTP status."""

    def probe() -> int | None:
        try:
            with urllib.request.urlopen(url, timeout=1.0) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as err:
            with err:
                return err.code
        except OSError:
            return None

    return wait_for(f"an answer from `{url}`", probe, process, deadline_s=deadline_s)
