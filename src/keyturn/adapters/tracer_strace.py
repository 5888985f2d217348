"""Follow what a step really opens, from outside of it, with strace.

strace runs around the sandbox, as the builder's user, and writes to a pipe in a directory that only that user enters: no
descriptor of it reaches the step, and nothing of it is mounted there. What each successful open gave is the path that the
kernel says of the new descriptor, as the step sees it, so links and working directories do not mislead. Two calls are
answered with "not there": `io_uring`, by which a process could open files without a system call for each, and `seccomp`,
since a filter that notifies a process of the step outranks the tracer's, and lets calls go on that it never sees.

Seccomp stops the step at these system calls alone: a step that computes pays nothing, one that opens files pays for each.
A traced step cannot trace its own children (gdb, strace). NOT seen: what the kernel opens itself (the loader and interpreter
of a program), and directories that are only listed or looked into. A program that is run by a name relative to the working
directory is listed by that name alone.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from keyturn.errors import Unavailable

__all__ = ["PATHS_MAX", "StraceTracer"]

PATHS_MAX = 100_000
_LINE_BYTES_MAX = 64 << 10
_SEARCH = "/usr/bin:/usr/local/bin:/bin"
_REFUSED = "io_uring_setup,seccomp"
_CALLS = f"open,openat,openat2,open_by_handle_at,creat,execve,execveat,{_REFUSED}"

_OPENED = re.compile(rb"(?P<said>.*\)) += [0-9]+<(?P<path>[^<>]*)>(?:\(deleted\))?\Z", re.DOTALL)
_FLAGS = re.compile(rb'.*", (?:\{flags=)?(?P<flags>O_[A-Z_|]+)', re.DOTALL)
_EXEC = re.compile(
    rb'(?P<pid>[0-9]+) +execve(?:at)?\((?:(?:[0-9]+|AT_FDCWD)<(?P<at>[^<>]*)>(?:\(deleted\))?, |[^",]*, )?'
    rb'"(?P<path>(?:[^"\\]|\\.)*)"'
)
_SUPERSEDED = re.compile(rb"[0-9]+ +\+\+\+ superseded by execve in pid (?P<pid>[0-9]+) \+\+\+\Z")
_BY_DESCRIPTOR = re.compile(rb"/(?:proc|dev)/.*fd/")
_RAN = re.compile(rb"(?P<pid>[0-9]+) .*\) += 0\Z", re.DOTALL)
_RESUMED = re.compile(rb"[0-9]+ +<\.\.\. [a-z0-9_]+ resumed>")
_ESCAPE = re.compile(rb"\\([0-7]{1,3}|.)")
_NAMED = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"v": b"\v", b"f": b"\f"}


class StraceTracer:
    """One traced run: `prefix` goes before the command, `opened` is known when the block ended.

    What ran before the `ignored`-th program that is started is the sandbox's own, and left out.
    """

    def __init__(self, *, ignored: int) -> None:
        self._ignored = ignored
        self._room = tempfile.TemporaryDirectory(prefix="keyturn-trace-")
        self._stopped = threading.Event()
        self._pending: dict[bytes, bytes] = {}
        self._unfinished: dict[bytes, bytes] = {}
        self._found: set[bytes] = set()
        self._looked_at: set[bytes] = set()
        self._started = 0
        self.left_off = 0
        program = shutil.which("strace", path=_SEARCH)
        if program is None:
            self._room.cleanup()
            raise Unavailable(
                "tracer-missing",
                "the step says `traced`, and strace is not installed here",
                hint="apt-get install strace, on the builder's machine",
            )
        pipe = Path(self._room.name, "trace")
        os.mkfifo(pipe, 0o600)
        self._pipe = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        options = ("--seccomp-bpf", "-f", "-y", "-qq", "-e", "signal=none", "-e", f"trace={_CALLS}")
        refused = ("-e", f"inject={_REFUSED}:error=ENOSYS")
        self.prefix = (program, *options, *refused, "-o", str(pipe), "--")
        self._thread = threading.Thread(target=self._read, name="keyturn-trace", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()
        os.close(self._pipe)
        self._room.cleanup()

    @property
    def opened(self) -> tuple[str, ...]:
        """Every path that was opened or run, sorted; at most `PATHS_MAX`, and `left_off` more were seen."""
        return tuple(sorted(path.decode("utf-8", "backslashreplace") for path in self._found))

    def _read(self) -> None:
        """Take lines until the writer is gone and the run ended; strace waits while nobody reads."""
        rest = b""
        ready = select.poll()
        ready.register(self._pipe, select.POLLIN)
        while True:
            stopping = self._stopped.is_set()
            try:
                chunk = os.read(self._pipe, 1 << 20)
            except BlockingIOError:
                ready.poll(100)
                continue
            if not chunk:
                if stopping:
                    break
                self._stopped.wait(0.02)  # nobody writes yet
                continue
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._take(line)
            rest = rest[-_LINE_BYTES_MAX:]

    def _take(self, line: bytes) -> None:
        asked = _EXEC.match(line)
        if asked is not None:
            self._pending[asked["pid"]] = _run_path(asked["at"], asked["path"])
        ran = _SUPERSEDED.match(line) or _RAN.match(line)  # a thread that runs a program becomes the process
        if ran is not None and ran["pid"] in self._pending:
            self._started += 1
            path = self._pending.pop(ran["pid"])
            self._add(path, after=self._ignored)
            if _BY_DESCRIPTOR.match(path):  # of one that was only looked at, and nobody sees which
                for looked_at in self._looked_at:
                    self._add(looked_at, after=self._ignored)
            return
        pid = line.partition(b" ")[0]
        if line.endswith(b"<unfinished ...>"):  # another process was seen meanwhile: the rest comes as "resumed"
            self._unfinished[pid] = line
            return
        opened = _OPENED.match(line)
        if opened is None:
            return
        said = self._unfinished.pop(pid, b"") if _RESUMED.match(line) else opened["said"]
        flags = _FLAGS.match(said)
        said_flags = set() if flags is None else set(flags["flags"].split(b"|"))
        if b"O_DIRECTORY" in said_flags:
            return
        if b"O_PATH" not in said_flags:
            self._add(opened["path"], after=self._ignored)
        elif self._started > self._ignored and len(self._looked_at) < PATHS_MAX:
            self._looked_at.add(opened["path"])

    def _add(self, quoted: bytes, *, after: int) -> None:
        if self._started <= after:
            return
        path = _ESCAPE.sub(_unescaped, quoted)
        if path in self._found or not path:
            return
        if len(self._found) >= PATHS_MAX:
            self.left_off += 1
            return
        self._found.add(path)


def _run_path(at: bytes | None, path: bytes) -> bytes:
    """The path of a program that is run from the directory, or by the descriptor, that the kernel calls `at`."""
    if at is None or path.startswith(b"/"):
        return path
    return at + b"/" + path if path else at


def _unescaped(found: re.Match[bytes]) -> bytes:
    said = found[1]
    return bytes((int(said, 8) & 0xFF,)) if said[:1].isdigit() else _NAMED.get(said, said)
