"""A loss of power, at its worst: of a directory, only what was synced is there afterwards, under names that were synced.

POSIX promises no more: the content of a file by a sync of the file; a name, a rename or the loss of a name by a sync of the
directory that holds it. Real file systems often keep more, which is why a missing sync is found by no test on them.

Seen are `os.fsync` and `os.fdatasync` of this process. What SQLite syncs is not, and is lost: the index is derived.
"""

from __future__ import annotations

import os
import shutil
import stat
import threading
from pathlib import Path
from typing import Self

import pytest

__all__ = ["Power"]


class Power:
    """What a loss of power leaves of the directory `root`; all that is there when it begins counts as durable."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch) -> None:
        self._root = root
        self._lock = threading.RLock()
        self._held: dict[int, int] = {}
        self._names: dict[int, dict[str, int]] = {}
        self._contents: dict[int, bytes] = {}
        patch.setattr(os, "fsync", self._synced)
        patch.setattr(os, "fdatasync", self._synced)
        self.begin()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._forget()

    def begin(self) -> None:
        """Count all that is there now as durable."""
        with self._lock:
            self._forget()
            for place in (self._root, *self._root.rglob("*")):
                self._keep(place)

    def cut(self) -> None:
        """Lose what is not durable. Whoever has files open keeps them, and they are nobody's any more."""
        with self._lock:
            for place in self._root.iterdir():
                shutil.rmtree(place) if place.is_dir() else place.unlink()
            self._restore(self._root.stat().st_ino, self._root)
            self.begin()

    def _restore(self, inode: int, place: Path) -> None:
        for name, below in self._names[inode].items():
            if below in self._names:
                (place / name).mkdir()
                self._restore(below, place / name)
            else:
                (place / name).write_bytes(self._contents.get(below, b""))

    def _synced(self, fd: int) -> None:
        with self._lock:
            self._keep(Path(f"/proc/self/fd/{fd}"))

    def _keep(self, place: Path) -> None:
        about = place.stat()
        self._hold(place, about.st_ino)
        if stat.S_ISDIR(about.st_mode):
            self._names[about.st_ino] = {below.name: below.stat().st_ino for below in place.iterdir()}
            for below in place.iterdir():
                self._hold(below, below.stat().st_ino)
                if below.is_dir():  # empty until its own names are synced
                    self._names.setdefault(below.stat().st_ino, {})
        else:
            self._contents[about.st_ino] = place.read_bytes()

    def _hold(self, place: Path, inode: int) -> None:
        """Keep the inode in use, so that no other file gets its number."""
        if inode not in self._held:
            self._held[inode] = os.open(place, os.O_RDONLY | os.O_CLOEXEC)

    def _forget(self) -> None:
        for fd in self._held.values():
            os.close(fd)
        self._held, self._names, self._contents = {}, {}, {}
