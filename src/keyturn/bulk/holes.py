"""Bound the holes of sparse files: bytes that nobody wrote, which read as zeros and cost a reader as much as real ones.

A file of 100 GB that takes no room on the disk is made in a moment, and hashing it takes minutes: whoever may run a step, or hand
over a model, could keep a builder at it for days. Some holes are ordinary (a memory map that was not filled), so they have a
bound, for a whole artifact. File systems that do not tell holes have none.
"""

from __future__ import annotations

import os

from keyturn.errors import Refused

__all__ = ["HOLES_BYTES_MAX", "Holes"]

HOLES_BYTES_MAX = 32 << 30
_BLOCK_BYTES = 512
_WORTH_A_LOOK_BYTES = 1 << 20


class Holes:
    """Counts the holes of one artifact's files as they are found."""

    def __init__(self) -> None:
        self._bytes = 0

    def add(self, path: str, name: str, directory: int | None, status: os.stat_result) -> None:
        """Count those of the file `name` in `directory`; `Refused` `file-sparse` once there are too many."""
        lacking = status.st_size - status.st_blocks * _BLOCK_BYTES
        if lacking < _WORTH_A_LOOK_BYTES or self._bytes + lacking <= HOLES_BYTES_MAX:
            self._bytes += max(0, lacking)
            return
        self._bytes += _holes(name, directory, status.st_size, HOLES_BYTES_MAX - self._bytes)
        if self._bytes > HOLES_BYTES_MAX:
            held = status.st_blocks * _BLOCK_BYTES
            raise Refused(
                "file-sparse",
                f"{path!r} has {status.st_size} bytes, of which {held} are on the disk: expected at most {HOLES_BYTES_MAX} in an "
                "artifact that nobody wrote",
                hint="leave it out, or write it whole: `cp --sparse=never`",
            )


def _holes(name: str, directory: int | None, size: int, enough: int) -> int:
    """Bytes in holes, as the file system tells them; it stops counting above `enough`."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=directory)
    except OSError:
        return 0  # whoever reads it says why it cannot be read
    try:
        at = found = 0
        while at < size and found <= enough:
            try:
                data = os.lseek(descriptor, at, os.SEEK_DATA)
            except OSError:  # ENXIO: nothing but a hole from here on
                data = size
            found += data - at
            at = os.lseek(descriptor, data, os.SEEK_HOLE) if data < size else size
        return found
    finally:
        os.close(descriptor)
