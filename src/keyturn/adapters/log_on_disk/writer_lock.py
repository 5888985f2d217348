"""One writer at a time across processes and threads: `flock` on a file, and a lock for the threads of this process.

The kernel lets go of the lock when its holder dies, however it dies. NFS and other network file systems are not supported.
"""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path
from types import TracebackType

from keyturn.errors import Unavailable

__all__ = ["WriterLock"]


class WriterLock:
    """A context manager that waits until it is the only holder of `path`."""

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK, 0o644)
        except PermissionError:
            raise  # it names the file, and the border of the command line says whose it must be
        except OSError as err:
            raise Unavailable(
                "log-lock",
                f"`{path.name}` cannot be locked: {err.strerror}",
                hint=f"move `{path}` away: it is an empty file that is made again",
            ) from err
        self._threads = threading.Lock()

    def __enter__(self) -> None:
        self._threads.acquire()
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX)
        except BaseException:
            self._threads.release()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_UN)
        self._threads.release()

    def close(self) -> None:
        """Let go of the file; the lock is not used afterwards."""
        os.close(self._fd)
