"""Read a log on this disk without writing to it or waiting for its writer: `ports.LogReader`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from keyturn.adapters.index_sqlite import IndexSqlite
from keyturn.adapters.log_on_disk import tile_files
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
            return (self._directory / "checkpoint").read_bytes()
        except FileNotFoundError as err:
            raise Unavailable(
                "log-no-checkpoint", "the log has no checkpoint that its witnesses cosigned", hint="keyturn up"
            ) from err
        except OSError as err:
            raise Unavailable("log-no-checkpoint", f"the log's checkpoint cannot be read: {err.strerror}") from err

    def leaves(self, start: int, end: int) -> list[bytes]:
        return self._derived(lambda size: tile_files.read_entries(self._directory, size, start, end))

    def hashes(self, level: int, start: int, end: int) -> list[bytes]:
        return self._derived(lambda size: tile_files.read_hashes(self._directory, size, level, start, end))

    def envelope(self, digest: Sha256) -> bytes:
        place = self._index.place_of(digest)
        if place is None:
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

    def _derived(self, read: Callable[[int], T]) -> T:
        size = tile_files.read_mark(self._directory).size
        try:
            return read(size)
        except Unavailable:
            again = tile_files.read_mark(self._directory).size
            if again == size:
                raise
            return read(again)  # the partial tiles of `size` went while they were read
