"""Read a log on this disk without writing to it or waiting for its writer: `ports.LogReader`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from keyturn.adapters.log_on_disk import tile_files
from keyturn.adapters.log_on_disk.checkpoint_files import body_of, read_note
from keyturn.adapters.log_on_disk.index_sqlite import IndexSqlite
from keyturn.adapters.log_on_disk.pack import envelope_at
from keyturn.errors import Unavailable
from keyturn.formats.digest import Sha256, sha256
from keyturn.formats.tile import TilePath

__all__ = ["LogOnDiskReader"]

T = TypeVar("T")


class LogOnDiskReader:
    """Reads what is derived: up to the mark, which is never below the checkpoint."""

    def __init__(self, directory: Path, index: IndexSqlite) -> None:
        self._directory = directory
        self._index = index

    def checkpoint(self) -> bytes:
        try:
            raw = read_note(self._directory, "checkpoint")
        except OSError as err:
            raise Unavailable("log-note-unreadable", f"the log's checkpoint cannot be read: {err.strerror}") from err
        if raw is None:
            raise Unavailable(
                "log-no-checkpoint", "the log has no checkpoint that its witnesses cosigned", hint="keyturn up"
            )
        body_of(
            "checkpoint", raw
        )  # damage is named here, where what to do about it is known; a reader verifies all of it
        return raw

    def leaves(self, start: int, end: int) -> list[bytes]:
        return self._derived(lambda size: tile_files.read_entries(self._directory, size, start, end))

    def hashes(self, level: int, start: int, end: int) -> list[bytes]:
        return self._derived(lambda size: tile_files.read_hashes(self._directory, size, level, start, end))

    def envelope(self, digest: Sha256) -> bytes:
        place = self._index.place_of(digest)
        if place is None:
            self._require_whole_index()
            raise Unavailable("envelope-unknown", f"the log has no envelope `{digest[:16]}`")
        raw = envelope_at(self._directory, *place)
        if sha256(raw) != digest:
            if not any(raw):
                raise Unavailable(
                    "envelope-erased", f"the envelope `{digest[:16]}` was erased", hint="keyturn tombstone list"
                )
            raise Unavailable("envelope-damaged", f"the envelope `{digest[:16]}` is damaged", hint="keyturn log verify")
        return raw

    def tile(self, path: TilePath) -> bytes:
        """A tile or entry bundle as it is served, or `Unavailable`."""
        return tile_files.read_tile(self._directory, path)

    def _require_whole_index(self) -> None:
        size, indexed = tile_files.read_mark(self._directory).size, self._index.tail.size
        if indexed < size:
            raise Unavailable(
                "index-behind",
                f"the index has {indexed} of the log's {size} entries: it was lost, and what it lacks is not",
                hint="keyturn log reindex",
            )

    def _derived(self, read: Callable[[int], T]) -> T:
        size = tile_files.read_mark(self._directory).size
        try:
            return read(size)
        except Unavailable:
            again = tile_files.read_mark(self._directory).size
            if again == size:
                raise
            return read(again)  # the partial tiles of `size` went while they were read
