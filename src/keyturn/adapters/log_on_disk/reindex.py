"""Make again what is derived from packs: the index, and the tiles."""

from __future__ import annotations

from pathlib import Path

from keyturn.adapters.log_on_disk.checkpoint_files import CheckpointFiles
from keyturn.adapters.log_on_disk.disk import PosixDisk
from keyturn.adapters.log_on_disk.erasing import finish as finish_erasing
from keyturn.adapters.log_on_disk.index_sqlite import rebuild
from keyturn.adapters.log_on_disk.intact import intact
from keyturn.adapters.log_on_disk.pack import START, batches_from, recover
from keyturn.adapters.log_on_disk.tile_writer import TileWriter
from keyturn.adapters.log_on_disk.writer_lock import WriterLock
from keyturn.errors import Unavailable

__all__ = ["reindex"]


def reindex(log: Path, *, index: Path) -> int:
    """Rebuild the index at `index`, and the tiles, of the packs in the directory `log`; return how many entries there are.

    Whoever appends waits meanwhile. `Unavailable` when they cannot be written, `Tampered` for packs that are not what they were.
    """
    try:
        return _derived(log, index)
    except PermissionError:
        raise
    except OSError as err:
        raise Unavailable(
            "log-not-settled",
            f"tiles or index cannot be derived: {err}",
            hint="free space on the log's disk, or move what it names away: it is made again",
        ) from err


def _derived(log: Path, index: Path) -> int:
    with WriterLock(log / "lock"), WriterLock(log / "settle.lock"):
        finish_erasing(PosixDisk(), log)
        signed = CheckpointFiles(PosixDisk(), log).read_body("signed")
        tail = recover(
            PosixDisk(),
            log,
            START,
            signed_size=0 if signed is None else signed.size,
            rewrite=False,
            seen=lambda found, after: None,
        )
        rebuild(index, ((intact(found), after) for found, after in batches_from(log, START)))
        tiles = TileWriter(PosixDisk(), log)
        for found, after in batches_from(log, START):
            tiles.add(found, after)
        tiles.settle()
    return tail.size
