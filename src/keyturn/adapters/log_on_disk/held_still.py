"""The log in a directory, held still so that its notes can be made again: `ports.LogNotes`. Its entries are only read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from keyturn.adapters.files.durable_files import sync_directory
from keyturn.adapters.log_on_disk.checkpoint_files import Which, body_of, read_note
from keyturn.adapters.log_on_disk.disk import Disk
from keyturn.adapters.log_on_disk.pack import START, batches_from, verify_packs
from keyturn.adapters.log_on_disk.writer_lock import WriterLock
from keyturn.errors import Refused, Tampered, Unavailable
from keyturn.tlog.frontier import Frontier

__all__ = ["HeldLog", "held_still"]

_ANY = (range(2**53),)


@contextmanager
def held_still(directory: Path, disk: Disk) -> Iterator[HeldLog]:
    """Take every lock of the log in `directory`, verify its batches, and give it."""
    with (
        WriterLock(directory / "lock"),
        WriterLock(directory / "settle.lock"),
        WriterLock(directory / "checkpoint.lock"),
    ):
        # Envelopes that are not their leaves' count in the tree like any other: `keyturn log verify` names them.
        yield HeldLog(directory, disk, size=verify_packs(directory, size_min=0, faults=_ANY))


class HeldLog:
    """A log of `size` entries whose batches make the trees that they say. Made by `held_still`, and of no use behind it."""

    def __init__(self, directory: Path, disk: Disk, *, size: int) -> None:
        self._directory = directory
        self._disk = disk
        self._size = size

    @property
    def size(self) -> int:
        return self._size

    def sound(self, which: Which) -> bytes | None:
        try:
            raw = read_note(self._directory, which)
            if raw is not None:
                body_of(which, raw)
        except Unavailable as err:
            if err.code != "log-note-damaged":
                raise  # somebody else's file is not damaged
            return None
        return raw

    def confirm(self, size: int, root: bytes) -> None:
        if size > self._size:
            raise Refused(
                "log-behind-witnesses",
                f"the packs hold {self._size} entries, and {size} were seen: it was restored from a backup or cut",
                hint="restore the newest packs first; nothing was changed",
            )
        if self._tree(size).root != root:
            raise Tampered("log-fork", f"another tree of {size} entries was seen than that of these packs")

    def replace(self, which: Which, new: bytes | None) -> str | None:
        path, aside = self._directory / which, None
        if os.path.lexists(path):
            aside = next(
                name for n in count(1) if not os.path.lexists(self._directory / (name := f"{which}.damaged-{n}"))
            )
            path.rename(self._directory / aside)
        if new is not None:
            self._disk.replace(path, new, durable=True)
        sync_directory(self._directory)
        return aside

    def _tree(self, size: int) -> Frontier:
        tree = Frontier.empty()
        for found, after in batches_from(self._directory, START):
            if after.size > size:
                return tree.extend(found.leaves[: size - found.first])
            tree = after.frontier
        return tree
