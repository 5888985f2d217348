"""Open plain files, and nothing that only lies in the place of one: a pipe, on which a reader would wait for ever, a device that
never ends, a directory.

For files in directories that Keyturn keeps. What a person names on a command line may be a pipe: `config_files.read_small`.
All of it raises `OSError`: what that means is for the adapter to say that keeps the file.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

__all__ = ["is_lasting", "open_plain", "read_plain"]

_LASTING = frozenset({errno.EISDIR, errno.EINVAL, errno.EFBIG, errno.ELOOP, errno.ENOENT, errno.EACCES, errno.EPERM})


def is_lasting(err: OSError) -> bool:
    """Whether `err` says what lies at a path: any other is the machine's, and the next attempt may go well."""
    return err.errno in _LASTING


def open_plain(path: Path, flags: int) -> int:
    """Open the plain file `path` without waiting for anybody, and give its descriptor."""
    fd = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK)
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode):
        return fd
    os.close(fd)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a directory", str(path))
    raise OSError(errno.EINVAL, "it is no plain file", str(path))


def read_plain(path: Path, *, size_bytes_max: int | None = None) -> bytes:
    """The content of the plain file `path`; `OSError` as well when it has more than `size_bytes_max`."""
    with os.fdopen(open_plain(path, os.O_RDONLY), "rb") as file:
        if size_bytes_max is None:
            return file.read()
        content = file.read(size_bytes_max + 1)
    if len(content) > size_bytes_max:
        raise OSError(errno.EFBIG, f"it has more than {size_bytes_max} bytes", str(path))
    return content
