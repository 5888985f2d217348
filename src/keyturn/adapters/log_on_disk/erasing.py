"""Erase envelopes from packs, in place: zeros where the text was, and the batch's digest over what is left.

Nothing moves: leaves, frontier and every length stay, so tiles, index and what other processes have open stay right. A batch is
overwritten under the writer's lock, and is first put into `log/erasing` as a whole; after a crash whoever opens the log for
writing next, or erases again, writes it once more (`finish`), so that no batch stays half erased.

    log/erasing    pack (8 bytes) and offset (8 bytes) of one batch, big-endian, and the batch as it shall be

What this cannot reach: copies of the files, snapshots of the file system, and blocks that a disk has put aside.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path

from keyturn.adapters.files.plain_files import is_lasting, read_plain
from keyturn.adapters.log_on_disk import batch as batch_format
from keyturn.adapters.log_on_disk.batch import Batch
from keyturn.adapters.log_on_disk.disk import Disk, PosixDisk
from keyturn.adapters.log_on_disk.pack import START, Tail, Torn, batches_from, open_pack, pack_path
from keyturn.adapters.log_on_disk.writer_lock import WriterLock
from keyturn.errors import Tampered, Unavailable
from keyturn.formats.digest import Sha256, sha256

__all__ = ["LogOnDiskEraser", "finish"]

_PLACE = struct.Struct(">QQ")


class LogOnDiskEraser:
    """`ports.LogEraser` on a disk: other processes may have the log open, and go on."""

    def __init__(self, directory: Path, *, disk: Disk | None = None) -> None:
        self._directory = directory
        self._disk = disk or PosixDisk()

    def erase(self, envelopes: Collection[Sha256]) -> int:
        with ExitStack() as held:
            for name in ("lock", "settle.lock"):
                lock = WriterLock(self._directory / name)
                held.callback(lock.close)
                held.enter_context(lock)
            try:
                finish(self._disk, self._directory)
                return sum(
                    self._erase(found, after, envelopes) for found, after in batches_from(self._directory, START)
                )
            except Torn as err:
                raise Unavailable(
                    "log-unfinished",
                    f"the batch after entry {err.tail.size} was never finished",
                    hint="start the log, which cuts what a crash left there: keyturn up; then again",
                ) from err
            except OSError as err:
                raise Unavailable(
                    "log-disk", f"not all was erased: {err.strerror}", hint="look at the disk, then the same again"
                ) from err

    def _erase(self, found: Batch, after: Tail, envelopes: Collection[Sha256]) -> int:
        gone = [sha256(raw) in envelopes for raw in found.envelopes]
        if not any(gone):
            return 0
        left = [bytes(len(raw)) if out else raw for raw, out in zip(found.envelopes, gone, strict=True)]
        raw = batch_format.render(found.first, left, found.leaves, found.frontier)
        place = _PLACE.pack(after.pack, after.offset - found.size_bytes)
        self._disk.replace(_journal(self._directory), place + raw, durable=True)
        finish(self._disk, self._directory)
        return sum(gone)


def finish(disk: Disk, directory: Path) -> None:
    """Do what `log/erasing` says, if it is there; the caller holds the writer's lock. `Tampered` when it is of another batch."""
    try:
        said = read_plain(_journal(directory))
    except FileNotFoundError:
        return
    except OSError as err:
        if not is_lasting(err):
            raise
        raise _of_another_batch(directory) from err
    raw = said[_PLACE.size :]
    if batch_format.parse(raw) is None:  # it was put there whole: no crash can do that
        raise _of_another_batch(directory)
    pack, offset = _PLACE.unpack_from(said)
    if not pack_path(directory, pack).exists():
        raise _of_another_batch(directory)
    fd = open_pack(pack_path(directory, pack))
    try:
        # The header is the same before, after and in the middle: an erasing changes no length and no number.
        header = os.pread(fd, batch_format.HEADER_BYTES, min(offset, 2**62))
        if header != raw[: batch_format.HEADER_BYTES]:
            raise _of_another_batch(directory)
        disk.overwrite(fd, raw, at=offset)
    finally:
        os.close(fd)
    disk.remove(_journal(directory))


def _of_another_batch(directory: Path) -> Tampered:
    return Tampered(
        "log-erasing",
        f"`{_journal(directory)}` is of no batch that this log has",
        hint="keep a copy of it, take it away, and look at the log: keyturn log verify",
    )


def _journal(directory: Path) -> Path:
    return directory / "erasing"
