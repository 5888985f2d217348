"""Write one small file on a POSIX disk so that it is there whole or not at all, and survives a loss of power once written.

The content is written to a fresh file beside its place, synced, and only then given its name; the name is synced last.
`create` never replaces anything, `replace` always does. Both raise `OSError`: what that means to a person is for the adapter
to say that keeps the file. `make_directories` is for whatever else must be found again: a file is as durable as the names of
all directories that it lies in.

This is NOT for the log, whose every write goes through `log_on_disk.disk`, and NOT for large files.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["create", "make_directories", "replace", "sync_directory"]


def create(path: Path, content: bytes, *, mode: int, directory_mode: int = 0o755) -> None:
    """Make the new file `path`, and its directory; `FileExistsError` when the file is there, and then nothing has changed."""
    make_directories(path.parent, mode=directory_mode)
    with _fresh(path, content, mode=mode) as fresh:
        os.link(fresh, path)  # unlike a rename, a link never replaces
    sync_directory(path.parent)


def replace(path: Path, content: bytes, *, mode: int, directory_mode: int = 0o755) -> None:
    """Put `content` at `path` in one step, whatever was there; makes its directory."""
    make_directories(path.parent, mode=directory_mode)
    with _fresh(path, content, mode=mode) as fresh:
        fresh.replace(path)
    sync_directory(path.parent)


def make_directories(path: Path, *, mode: int = 0o755) -> None:
    """Make the directory `path`, with `mode`, and those that it lies in, each name durable before anything is made below it.

    So at most one name can be there that is not durable: that of the last level, when whoever made it died before it was
    synced. That is why the name of a directory that is found is synced too. `NotADirectoryError` when something else is there.
    """
    if path.is_dir():
        with suppress(PermissionError):  # who may not even read the directory above did not make this one
            sync_directory(path.parent)
        return
    make_directories(path.parent, mode=0o777)
    try:
        path.mkdir(mode=mode)
    except FileExistsError as err:
        if not path.is_dir():  # else another process was faster
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from err
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in the directory `path` durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def _fresh(path: Path, content: bytes, *, mode: int) -> Iterator[Path]:
    # A name of its own for each write: threads and crashed processes leave nothing that is in the way.
    fresh = path.with_name(f".{path.name[:100]}.{secrets.token_hex(8)}")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield fresh
    finally:
        fresh.unlink(missing_ok=True)
