"""Run a step in bubblewrap: declared inputs and runtime, read-only, and nothing else of this machine.

What a step gets: its mounts below `/in`, `/out` to write to, the runtime's paths, a `/proc` of its own, the few devices of
`bwrap --dev` and those declared, an empty `/tmp`, no network, no home, no capability, no environment but what is listed
here, no terminal, and no process of anybody else. bubblewrap itself starts with an empty environment and reads its
arguments from a descriptor, since the step sees both in `/proc/1`.

How it ends: bubblewrap's first process is process 1 of the step's PID namespace. When it ends, or is killed at the timeout,
the kernel kills whatever the step left behind (daemons, double forks, new sessions). Nothing waits for them.

NOT confined: memory and CPU time. `PROCESSES_MAX` holds when the builder is no root (the kernel exempts root); the timeout
holds always. A declared network is refused: bubblewrap gives all of it or none, and "all" is not what was declared.
"""

from __future__ import annotations

import json
import os
import resource
import select
import selectors
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from io import FileIO
from pathlib import Path
from typing import Literal

from keyturn.adapters.tracer_strace import StraceTracer
from keyturn.errors import Refused, Unavailable
from keyturn.ports import SandboxJob, SandboxRun, SandboxTrace, Seen

__all__ = ["OUTPUT_BYTES_MAX", "BubblewrapSandbox", "Capture", "environment_of"]

OUTPUT_BYTES_MAX = 256 << 10
PROCESSES_MAX = 4096
_TMP = "/tmp"  # noqa: S108  # the sandbox's own, empty one
_TMP_BYTES_MAX = 8 << 30
_POLL_S = 0.1
_END_S = 15.0
_SEARCH = "/usr/bin:/usr/local/bin:/bin"
_ALIASES = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_OWN = ("/", "/proc", "/sys", "/dev", "/in", "/out", _TMP)


class BubblewrapSandbox:
    """`ports.Sandbox` with bubblewrap; `probe` says why when it cannot run here."""

    kind: Literal["bubblewrap"] = "bubblewrap"

    def probe(self) -> None:
        """Raise `Unavailable` unless a step can be confined on this machine."""
        program = _program()
        arguments = [*_confinement(), "--ro-bind", "/usr", "/usr", *_aliases(("/usr",)), "--proc", "/proc"]
        try:
            tried = subprocess.run(
                [program, *arguments, "--", "/usr/bin/true"],
                env={},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_END_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as err:
            raise _unavailable(f"`{program}` does not run", str(err)) from err
        if tried.returncode != 0:
            said = tried.stderr.decode("utf-8", "replace").strip()[:300]
            raise _unavailable(f"bubblewrap cannot make a sandbox here: {said.encode('unicode_escape').decode()}", said)

    def run(
        self, job: SandboxJob, *, stopped: Callable[[], bool], mounted: Callable[[Seen], None] | None = None
    ) -> SandboxRun:
        """Run `job` confined; see `ports.Sandbox.run`."""
        _refuse_unconfinable(job)
        program = _program()
        listed = b"\0".join(argument.encode() for argument in arguments_of(job)) + b"\0"
        with ExitStack() as stack:
            arguments = stack.enter_context(_passed(listed))
            (info_read, info_write), (go_read, go_write), (out_read, out_write) = (
                map(stack.enter_context, _pipe()) for _ in range(3)
            )
            given = (arguments, info_write, go_read)
            options = ("--args", str(arguments.fileno()), "--info-fd", str(info_write.fileno()))
            tracer = (
                stack.enter_context(StraceTracer(ignored=1)) if job.traced else None
            )  # its own start is bubblewrap's
            child = subprocess.Popen(
                [
                    *(tracer.prefix if tracer else ()),
                    program,
                    *options,
                    "--block-fd",
                    str(go_read.fileno()),
                    "--",
                    *job.command,
                ],
                env={},
                stdin=subprocess.DEVNULL,
                stdout=out_write,
                stderr=out_write,
                pass_fds=[end.fileno() for end in given],
            )
            for end in (info_write, go_read, out_write):
                end.close()
            first: int | None = None
            try:
                started = _first_process(info_read)
                if started is not None:
                    pid, first = started
                    if mounted is not None and _has_mounted(pid, first):
                        mounted(lambda path: Path(f"/proc/{pid}/root{path}"))
                    go_write.write(b"1")
                capture = Capture(out_read)
                timed_out = capture.drain(child.pid, time.monotonic() + job.timeout_s, stopped)
            finally:
                _end(child, first)
            capture.rest()
        return SandboxRun(
            status=child.returncode,
            timed_out=timed_out,
            output=capture.content(),
            trace=None if tracer is None else SandboxTrace(tracer.opened, tracer.left_off),
        )


class Capture:
    """Keeps the first and the last part of what a step prints; the middle of too much is dropped, and said so."""

    def __init__(self, pipe: FileIO) -> None:
        self._pipe = pipe
        self._head = bytearray()
        self._tail = bytearray()
        self._dropped = 0
        os.set_blocking(pipe.fileno(), False)

    def drain(self, pid: int, deadline: float, stopped: Callable[[], bool]) -> bool:
        """Read until the child `pid` ended; give True when time was up (or `stopped`) before that."""
        ended = FileIO(os.pidfd_open(pid))
        with ended, selectors.DefaultSelector() as selector:
            selector.register(self._pipe, selectors.EVENT_READ)
            selector.register(ended, selectors.EVENT_READ)
            while not stopped() and time.monotonic() < deadline:
                ready = [key.fileobj for key, _ in selector.select(_POLL_S)]
                if self._pipe in ready and not self._read():
                    selector.unregister(self._pipe)  # the step closed its output, and may well go on
                elif ready == [ended]:
                    return False
        return True

    def rest(self) -> None:
        """Take what is still in the pipe once all writers are gone."""
        while self._read():
            pass

    def content(self) -> bytes:
        if not self._dropped:
            return bytes(self._head + self._tail)
        return bytes(self._head) + b"\n[%d bytes dropped]\n" % self._dropped + bytes(self._tail)

    def _read(self) -> bool:
        chunk = self._pipe.read(64 << 10) or b""
        room = OUTPUT_BYTES_MAX // 2 - len(self._head)
        self._head += chunk[:room]
        self._tail += chunk[room:]
        over = len(self._tail) - OUTPUT_BYTES_MAX // 2
        if over > 0:
            del self._tail[:over]
            self._dropped += over
        return bool(chunk)


def arguments_of(job: SandboxJob) -> list[str]:
    """Give bubblewrap's arguments for `job`; what is mounted later lies over what is mounted before."""
    arguments = [*_confinement(), "--clearenv"]
    for name, value in sorted(environment_of(job).items()):
        arguments += ["--setenv", name, value]
    arguments += ["--proc", "/proc", "--dev", "/dev"]
    arguments += ["--perms", "1777", "--size", str(_TMP_BYTES_MAX), "--tmpfs", _TMP]
    for device in job.devices:
        arguments += ["--dev-bind", device, device]
    for path in job.runtime:
        arguments += ["--ro-bind", os.path.realpath(path), path]
    arguments += _aliases(job.runtime)
    arguments += ["--dir", "/in"]
    for mount in job.mounts:
        arguments += ["--ro-bind", mount.source, mount.target]
    # The root directory itself, which holds the mount points, is made read-only last; and all of /proc, since a builder
    # that is root of the host would else be root to /proc/sys, capabilities or not (kernel.core_pattern is the host's).
    return [*arguments, "--bind", job.outputs, "/out", "--remount-ro", "/proc", "--remount-ro", "/", "--chdir", _TMP]


def environment_of(job: SandboxJob) -> dict[str, str]:
    """Give the whole environment of a step. Runtimes that are listed later are searched first."""
    search = [f"{path}/bin" for path in reversed(job.runtime)] + ["/usr/bin", "/bin"]
    return {
        "PATH": ":".join(dict.fromkeys(search)),
        "HOME": _TMP,
        "TMPDIR": _TMP,
        "LANG": "C.UTF-8",
        # Python neither reads nor writes byte code beside its sources: the runtime's sources are what was digested.
        "PYTHONPYCACHEPREFIX": f"{_TMP}/.pycache",
        "KEYTURN_IN": "/in",
        "KEYTURN_OUT": "/out",
        **job.environment,
    }


def _confinement() -> list[str]:
    return [
        *("--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"),
        *("--disable-userns", "--uid", "65534", "--gid", "65534", "--hostname", "step", "--cap-drop", "ALL"),
        *("--new-session", "--die-with-parent"),
    ]


def _aliases(runtime: tuple[str, ...]) -> list[str]:
    """`/lib64` and its like are links into `/usr` on Debian: say so in the sandbox too, content comes only from `runtime`."""
    arguments: list[str] = []
    for name in _ALIASES:
        link = Path("/", name)
        if link.is_symlink() and str(link) not in runtime:
            arguments += ["--symlink", str(link.readlink()), str(link)]
    return arguments


def _refuse_unconfinable(job: SandboxJob) -> None:
    if job.network:
        raise Refused(
            "sandbox-network",
            f"this sandbox cannot let a step reach `{job.network[0]}` and nothing else",
            hint='declare network = "none" and bring what it needs as an input, or run with --no-sandbox',
        )
    for path in job.runtime:
        if path in _OWN or path.startswith(tuple(f"{own}/" for own in _OWN if own not in ("/", _TMP))):
            raise Refused("sandbox-runtime", f"`{path}` cannot be a runtime: the sandbox has its own")
    for device in job.devices:
        try:
            mode = Path(device).stat().st_mode
        except OSError as err:
            raise Unavailable("sandbox-device", f"device `{device}` is not there: {err.strerror}") from err
        if not stat.S_ISCHR(mode):
            raise Refused("sandbox-device", f"`{device}` is no character device")


def _has_mounted(pid: int, first: int) -> bool:
    """Wait until the process `pid`, whose handle is `first`, has mounted all; False when it ended before, and ran nothing."""
    ended = select.poll()
    ended.register(first, select.POLLIN)
    until = time.monotonic() + _END_S
    while not ended.poll(2):
        with suppress(OSError):
            lines = Path(f"/proc/{pid}/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
            options = {fields[4]: fields[5].split(",") for fields in (line.split(" ") for line in lines)}
            if "/out" in options and "ro" in options["/"] and "/oldroot" not in options:
                return True
        if time.monotonic() > until:
            raise Unavailable("sandbox-unmounted", f"bubblewrap mounted nothing for {_END_S:.0f} s", hint="try again")
    return False


def _first_process(info: FileIO) -> tuple[int, int] | None:
    """The number of process 1 of the step's namespace, which waits for us, and a handle; `None` when bubblewrap failed before."""
    said = b""
    while b"}" not in said and (more := info.read(4096)):  # not to its end: a tracer keeps the other end open
        said += more
    try:
        pid = json.loads(said)["child-pid"]
        handle = os.pidfd_open(pid)
    except (ValueError, KeyError, ProcessLookupError):
        return None
    try:
        resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))
        _limit_processes(pid)
    except BaseException as err:
        os.close(handle)
        if isinstance(err, ProcessLookupError):
            return None
        raise
    return pid, handle


def _limit_processes(pid: int) -> None:
    """At most `PROCESSES_MAX`, or as few as the builder's own user may have: only root could raise that again."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_NPROC)
    most = PROCESSES_MAX if hard == resource.RLIM_INFINITY else min(hard, PROCESSES_MAX)
    resource.prlimit(pid, resource.RLIMIT_NPROC, (most, most))


def _end(child: subprocess.Popen[bytes], first: int | None) -> None:
    """Kill the step's process 1, and with it, by the kernel, everything in its namespace; then bubblewrap."""
    if first is not None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(first, signal.SIGKILL)
        # It ends only once the kernel has killed and reaped everything in its namespace: then nothing of the step is left.
        ended = select.poll()
        ended.register(first, select.POLLIN)
        gone = ended.poll(_END_S * 1000)
        os.close(first)
        if not gone:
            child.kill()
            child.wait()
            raise Unavailable("sandbox-not-ended", f"processes of the step are still there after {_END_S:.0f} s")
        with suppress(subprocess.TimeoutExpired):
            child.wait(timeout=_END_S)
    child.kill()
    child.wait()


def _program() -> str:
    program = shutil.which("bwrap", path=_SEARCH)
    if program is None:
        raise _unavailable("bubblewrap is not installed", "")
    return program


def _unavailable(why: str, detail: str) -> Unavailable:
    return Unavailable(
        "sandbox-unavailable",
        f"no sandbox here: {why}",
        hint="apt-get install bubblewrap, and allow user namespaces; else only --no-sandbox runs a step, signed by you",
        detail=detail,
    )


def _passed(content: bytes) -> FileIO:
    """A descriptor that a child reads `content` from; no file has it."""
    file = FileIO(os.memfd_create("keyturn-bwrap-args"), "r+")
    file.write(content)
    file.seek(0)
    return file


def _pipe() -> tuple[FileIO, FileIO]:
    read, write = os.pipe2(os.O_CLOEXEC)
    return FileIO(read, "r"), FileIO(write, "w")
