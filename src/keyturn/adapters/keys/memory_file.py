"""Hold some bytes in an anonymous file (memfd_create(2)) that programs of the same user open by its path, and nobody else.

The file is on no disk, and gone with this process, however that ends.
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import Self

__all__ = ["MemoryFile"]


class MemoryFile:
    """A file `name` with `content`, of mode 0600, as OpenSSH and libpq want a private key."""

    def __init__(self, name: str, content: bytes) -> None:
        self._name = name
        self._fd = _made(name, content)

    @property
    def path(self) -> str:
        """Where a program of this user reads it while this process lives."""
        return f"/proc/{os.getpid()}/fd/{self._fd}"

    def put(self, content: bytes) -> None:
        """Have `content` at the same path from now on: whoever opens it has the one or the other, and never a part."""
        fresh = _made(self._name, content)
        try:
            os.dup2(fresh, self._fd, inheritable=False)
        finally:
            os.close(fresh)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)


def _made(name: str, content: bytes) -> int:
    fd = os.memfd_create(name, os.MFD_CLOEXEC)
    os.fchmod(fd, 0o600)
    os.write(fd, content)
    return fd
