"""Run a step as a plain child process, with all that its user may do: what `--no-sandbox` means.

It confines nothing, and says so: provenance names the sandbox `none` and is signed by the member who ran it, never by a
builder. `/in` and `/out` in the command become paths of this machine, given in KEYTURN_IN and KEYTURN_OUT too.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from io import FileIO
from pathlib import Path
from typing import Literal

from keyturn.adapters.sandbox_bwrap import Capture, environment_of
from keyturn.adapters.tracer_strace import StraceTracer
from keyturn.errors import Unavailable
from keyturn.ports import SandboxJob, SandboxRun, SandboxTrace, Seen

__all__ = ["NoSandbox"]


class NoSandbox:
    """`ports.Sandbox` that is none. Its processes are one group, which is killed at the end: a step may leave it."""

    kind: Literal["none"] = "none"

    def run(
        self, job: SandboxJob, *, stopped: Callable[[], bool], mounted: Callable[[Seen], None] | None = None
    ) -> SandboxRun:
        """Run `job` in a directory of links to its inputs; see `ports.Sandbox.run`."""
        with tempfile.TemporaryDirectory(prefix="keyturn-step-") as room:
            inputs = Path(room, "in")
            for mount in job.mounts:
                link = inputs / Path(mount.target).relative_to("/in")
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(mount.source)
            command = [_placed(argument, str(inputs), job.outputs) for argument in job.command]
            environment = environment_of(job) | {
                "HOME": room,
                "TMPDIR": room,
                "PYTHONPYCACHEPREFIX": f"{room}/.pycache",
            }
            environment |= {"KEYTURN_IN": str(inputs), "KEYTURN_OUT": job.outputs}
            if not job.traced:
                return _run(command, environment, room, job.timeout_s, stopped)
            with StraceTracer(ignored=0) as tracer:
                ran = _run([*tracer.prefix, *command], environment, room, job.timeout_s, stopped)
            opened = {_seen(path, job, room) for path in tracer.opened}
            return replace(ran, trace=SandboxTrace(tuple(sorted(opened)), tracer.left_off))


def _seen(path: str, job: SandboxJob, room: str) -> str:
    """Where a step in a sandbox would have found `path`: that is how inputs and outputs are named."""
    places = [(os.path.realpath(mount.source), mount.target) for mount in job.mounts]
    for here, inside in (*places, (os.path.realpath(job.outputs), "/out"), (os.path.realpath(room), "/tmp")):  # noqa: S108  # the name that a sandbox has for it
        if path == here or path.startswith(f"{here}/"):
            return inside + path[len(here) :]
    return path if not path.startswith("/tmp/") else f"/host{path}"  # noqa: S108  # not the step's own /tmp


def _placed(argument: str, inputs: str, outputs: str) -> str:
    for inside, here in (("/in", inputs), ("/out", outputs)):
        if argument == inside or argument.startswith(f"{inside}/"):
            return here + argument[len(inside) :]
    return argument


def _run(
    command: list[str], environment: dict[str, str], room: str, timeout_s: int, stopped: Callable[[], bool]
) -> SandboxRun:
    read, write = os.pipe2(os.O_CLOEXEC)
    with FileIO(read, "r") as out, FileIO(write, "w") as into:
        try:
            child = subprocess.Popen(
                command,
                env=environment,
                cwd=room,
                stdin=subprocess.DEVNULL,
                stdout=into,
                stderr=into,
                start_new_session=True,
            )
        except OSError as err:
            raise Unavailable("step-command", f"`{command[0]}` cannot be run: {err.strerror}") from err
        into.close()
        try:
            capture = Capture(out)
            timed_out = capture.drain(child.pid, time.monotonic() + timeout_s, stopped)
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        capture.rest()
        return SandboxRun(status=child.returncode, timed_out=timed_out, output=capture.content())
