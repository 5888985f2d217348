"""A run's staging directory, held by descriptors: whoever may rename things around it gives the run no other one.

It lies beside the destination, in a directory where members may write too. Its own mode keeps them out of it, and keeps nobody
from renaming it and putting another in its place, as one that the builder left of another step. So its files are reached
through the descriptor that was opened and checked once (`inside`), and by its name (`named`) only where another program must
have one: what is mounted by that name is looked at again, before a command begins.

A directory that an earlier process left is gone on with when a mark in it, where only the builder writes, says the same name.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from keyturn.adapters.files.clearing import clear
from keyturn.errors import Refused, Unavailable

__all__ = ["Staging"]

_MARK = "of"  # and the name


class Staging:
    """The directory `named`, which is made, or gone on with when `again`. `close` must be called."""

    def __init__(self, named: Path, *, again: bool) -> None:
        self.named = named
        self._parent = self._own = -1
        try:
            self._parent = os.open(named.parent, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with suppress(*((FileExistsError,) if again else ())):
                os.mkdir(named.name, 0o700, dir_fd=self._parent)
            directory = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            self._own = os.open(named.name, directory, dir_fd=self._parent)
            fcntl.flock(self._own, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._require_own()
        except OSError as err:
            self.close()
            raise Unavailable("destination-unwritable", f"`{named.parent}`: {err.strerror}") from err
        except Refused:
            self.close()
            raise

    @property
    def inside(self) -> Path:
        """Where its files are, for this process and its children, whatever its name leads to."""
        return Path(f"/proc/{os.getpid()}/fd/{self._own}")

    def name_of(self, path: Path) -> Path:
        """What `path` is called for everybody else."""
        return self.named / path.relative_to(self.inside) if path.is_relative_to(self.inside) else path

    def sync(self) -> None:
        os.fsync(self._own)

    def publish(self, name: str, as_name: str) -> None:
        """Give its entry `name` the name `as_name` beside it: over nothing, or over an empty directory."""
        os.rename(name, as_name, src_dir_fd=self._own, dst_dir_fd=self._parent)
        beside = Path(f"/proc/{os.getpid()}/fd/{self._parent}")
        for place in (beside / as_name, beside / "."):
            descriptor = os.open(f"{place}/.", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def remove(self) -> None:
        """Remove what is in it, and its name when that still leads to it."""
        for place in self.inside.iterdir():
            clear(place)
        with suppress(OSError):
            os.rmdir(self.named.name, dir_fd=self._parent)

    def close(self) -> None:
        for descriptor in (self._own, self._parent):
            if descriptor >= 0:
                os.close(descriptor)

    def _require_own(self) -> None:
        found = os.fstat(self._own)
        mine = found.st_uid == os.geteuid() and not found.st_mode & 0o077
        if not mine or self.inside.readlink() != self.named or not self._is_marked():
            raise Refused("staging-taken", f"`{self.named}` is not what this builder left there", hint="remove it")

    def _is_marked(self) -> bool:
        mark = self.inside / f"{_MARK}{self.named.name}"
        if not mark.exists():
            if any(self.inside.iterdir()):
                return False
            mark.mkdir(0o700)  # in one step: whoever is killed leaves it whole, or an empty directory
            self.sync()
        return True
