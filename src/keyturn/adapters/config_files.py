"""Write the few unsigned files that a person or lab begins with: whole or not at all, and never over another."""

from __future__ import annotations

import os
from pathlib import Path

from keyturn.errors import Conflict, Unavailable, Usage

__all__ = ["read_small", "replace_file", "write_new"]


def write_new(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write the new file `path` durably; `Conflict` `file-exists` when there is anything already."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError as err:
        raise Conflict("file-exists", f"`{path}` is there already, and is not overwritten") from err
    except OSError as err:
        raise Unavailable("file-unwritable", f"cannot write `{path}`: {err.strerror}") from err


def replace_file(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Put `content` at `path` atomically and durably."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    write_new(fresh, content, mode=mode)
    try:
        fresh.replace(path)
    except OSError as err:
        fresh.unlink(missing_ok=True)
        raise Unavailable("file-unwritable", f"cannot write `{path}`: {err.strerror}") from err


def read_small(path: Path, *, size_bytes_max: int = 64 * 1024) -> bytes:
    """Read a file that somebody named on the command line, or raise `Usage`."""
    try:
        with path.open("rb") as file:
            content = file.read(size_bytes_max + 1)
    except OSError as err:
        raise Usage("file-unreadable", f"cannot read `{path}`: {err.strerror}") from err
    if len(content) > size_bytes_max:
        raise Usage("file-too-large", f"`{path}`: expected at most {size_bytes_max} bytes")
    return content
