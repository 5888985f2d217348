"""The log's two checkpoints on disk, each replaced by compare-and-swap and never by an older one.

`checkpoint` is what readers get: the newest that the quorum of witnesses cosigned. `signed` is the newest that the log's
key signed at all; it is on disk before it leaves this machine, so that the log never signs two trees of one size.

What lies in the place of one and is none is an error that says so, and never read as its absence: `app.log.recover_notes` makes
it again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from keyturn.adapters.files.plain_files import is_lasting, read_plain
from keyturn.adapters.log_on_disk.disk import Disk
from keyturn.adapters.log_on_disk.writer_lock import WriterLock
from keyturn.errors import Conflict, Malformed, Tampered, Unavailable
from keyturn.formats import checkpoint as checkpoints
from keyturn.formats import note as notes
from keyturn.formats.checkpoint import Checkpoint

__all__ = ["CheckpointFiles", "Which", "body_of", "check_follows", "read_note"]

Which = Literal["checkpoint", "signed"]


class CheckpointFiles:
    """Read and swap the checkpoints in `directory`."""

    def __init__(self, disk: Disk, directory: Path) -> None:
        self._disk = disk
        self._directory = directory
        self._lock = WriterLock(directory / "checkpoint.lock")

    def read(self, which: Which) -> bytes | None:
        """The note, or `None` when there has never been one."""
        return read_note(self._directory, which)

    def read_body(self, which: Which) -> Checkpoint | None:
        """What the note says; no signature is checked."""
        raw = self.read(which)
        return None if raw is None else body_of(which, raw)

    def swap(self, which: Which, old: bytes | None, new: bytes) -> None:
        """Replace `old` by `new` durably, or raise `Conflict` and change nothing.

        Raises `Tampered` when `new` is smaller than `old`, or another tree of the same size, or another log's.
        """
        with self._lock:
            if self.read(which) != old:
                raise Conflict("checkpoint-changed", f"the log's `{which}` was replaced by another process")
            check_follows(old, new)
            self._disk.replace(self._directory / which, new, durable=True)

    def close(self) -> None:
        """Let go of the lock file."""
        self._lock.close()


def read_note(directory: Path, which: Which) -> bytes | None:
    """The note `which` of the log in `directory`, or `None` when there has never been one; it may be anything that a file holds.

    `Unavailable` `log-note-unreadable` when somebody else's, `log-note-damaged` when no plain file of a note's size lies there.
    """
    path = directory / which
    try:
        return read_plain(path, size_bytes_max=notes.SIZE_BYTES_MAX)
    except PermissionError as err:
        raise Unavailable(
            "log-note-unreadable",
            f"`{which}` of the log cannot be read: {err.strerror}",
            hint="run it as the user whose lab it is, or look at its owner and mode: ls -l",
        ) from err
    except OSError as err:
        if isinstance(err, FileNotFoundError) and not path.is_symlink():
            return None
        if not is_lasting(err):
            raise
        raise _damaged(which, err.strerror or "it cannot be read") from err


def body_of(which: Which, raw: bytes) -> Checkpoint:
    """What the note `raw` says; `Unavailable` `log-note-damaged` when it is none. No signature is checked."""
    try:
        return checkpoints.parse_body(notes.parse(raw).text)
    except Malformed as err:
        raise _damaged(which, err.message) from err


def _damaged(which: Which, why: str) -> Unavailable:
    return Unavailable(
        "log-note-damaged",
        f"`{which}` of the log is no checkpoint: {why}",
        hint="keyturn log recover, where the log lies",
    )


def check_follows(old: bytes | None, new: bytes) -> None:
    """Check that the note `new` may replace `old`: a checkpoint of the same log, of no fewer entries, and no other tree."""
    after = checkpoints.parse_body(notes.parse(new).text)
    if old is None:
        return
    before = checkpoints.parse_body(notes.parse(old).text)
    if after.origin != before.origin:
        raise Tampered("checkpoint-origin", f"expected the log `{before.origin}`, got `{after.origin}`")
    if after.size < before.size:
        raise Tampered("checkpoint-goes-back", f"expected {before.size} entries or more, got {after.size}")
    if after.size == before.size and after.root != before.root:
        raise Tampered("checkpoint-fork", f"two trees of {after.size} entries: the log was forked")
