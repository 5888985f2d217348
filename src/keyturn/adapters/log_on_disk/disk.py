"""Every write that the log makes on a disk, as few operations as there are: the seam at which tests cut the power.

`PosixDisk` is what runs. A test's disk wraps it and fails, or dies, at the n-th operation, as SQLite's tests do; so nothing
in this folder may write around it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from keyturn.adapters.files.durable_files import make_directories, sync_directory

__all__ = ["Disk", "PosixDisk"]


class Disk(Protocol):
    """Write durably, or raise `OSError`."""

    def create(self, path: Path) -> None:
        """Make an empty file unless it is there, with its name durable."""

    def append(self, fd: int, raw: bytes, *, at: int) -> None:
        """Write all of `raw` at offset `at`, which is the file's end. Not atomic: after a crash any part may be there."""

    def sync(self, fd: int) -> None:
        """Make what was appended durable (fdatasync: content and length)."""

    def cut(self, fd: int, *, at: int) -> None:
        """Make the file end at `at`, durably."""

    def overwrite(self, fd: int, raw: bytes, *, at: int) -> None:
        """Put `raw` in the place of as many bytes at `at`, durably. Not atomic: after a crash any part may be there."""

    def remove(self, path: Path) -> None:
        """Make an end of the file, durably."""

    def replace(self, path: Path, raw: bytes, *, durable: bool) -> None:
        """Put `raw` at `path` atomically; `durable` when it must survive a loss of power."""


class PosixDisk:
    """`Disk` on a POSIX file system."""

    def create(self, path: Path) -> None:
        make_directories(path.parent)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644))
        sync_directory(path.parent)

    def append(self, fd: int, raw: bytes, *, at: int) -> None:
        done = os.pwrite(fd, raw, at)
        while done < len(raw):  # a signal or a full disk can end a write early; a full disk raises next time
            done += os.pwrite(fd, memoryview(raw)[done:], at + done)

    def sync(self, fd: int) -> None:
        os.fdatasync(fd)

    def cut(self, fd: int, *, at: int) -> None:
        os.ftruncate(fd, at)
        os.fsync(fd)

    def overwrite(self, fd: int, raw: bytes, *, at: int) -> None:
        self.append(fd, raw, at=at)
        os.fdatasync(fd)

    def remove(self, path: Path) -> None:
        path.unlink()
        sync_directory(path.parent)

    def replace(self, path: Path, raw: bytes, *, durable: bool) -> None:
        if (
            not path.parent.is_dir()
        ):  # a name that is there is durable: `create`, or whoever opened the place, saw to that
            make_directories(path.parent)
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        fd = os.open(fresh, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            self.append(fd, raw, at=0)
            if durable:
                os.fdatasync(fd)
        finally:
            os.close(fd)
        fresh.replace(path)
        if durable:
            sync_directory(path.parent)
