"""Derive C2SP tiles and entry bundles from the leaves in the packs.

Full tiles are written as they fill up. `settle` writes the partial ones, syncs everything and moves the mark, so that a
checkpoint of that size can be served. Whatever lies beyond the mark is derived again after a crash.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from keyturn.adapters.log_on_disk.batch import Batch
from keyturn.adapters.log_on_disk.disk import Disk
from keyturn.adapters.log_on_disk.pack import START, Tail
from keyturn.adapters.log_on_disk.tile_files import read_entries, read_mark, read_tile, write_mark
from keyturn.errors import Malformed, Tampered, Unavailable
from keyturn.formats.tile import TILE_WIDTH, TilePath, parse_tile, render_bundle, render_tile, tile_width
from keyturn.tlog import merkle
from keyturn.tlog.frontier import Frontier
from keyturn.tlog.tiles import subtree_root

__all__ = ["TileWriter"]


class TileWriter:
    """Derives tiles from leaves in order, with memory for the right edge only. `tail` is how far it is."""

    def __init__(self, disk: Disk, directory: Path) -> None:
        self._disk = disk
        self._directory = directory
        self.tail = START
        self._rows: list[list[bytes]] = [[]]
        self._full = [0]
        """Full tiles at each tile level; the partial one comes after them."""
        self._leaves: list[bytes] = []
        self._unsynced: dict[Path, list[Path]] = {}
        """What is written and not synced, by its folder."""

    def load(self) -> None:
        """Continue from the mark; from nothing when the tiles there are damaged or not those of its tree."""
        try:
            self._load(read_mark(self._directory))
        except (Unavailable, Malformed):
            self._start(START)

    def add(self, found: Batch, tail: Tail) -> None:
        """Add the leaves of one batch, which ends at `tail`."""
        at = 0
        while at < len(found.leaves):
            end = at + TILE_WIDTH - len(self._leaves)
            self._leaves += found.leaves[at:end]
            self._rows[0] += found.hashes[at:end]
            at = end
            if len(self._leaves) == TILE_WIDTH:
                self._write(TilePath(None, self._full[0], TILE_WIDTH), render_bundle(self._leaves))
                self._leaves = []
                self._rise()
        self.tail = tail

    def settle(self) -> None:
        """Write the partial tiles, sync all of it, and move the mark; `Tampered` when packs and tiles disagree."""
        nodes: tuple[bytes, ...] = ()
        for level, row in enumerate(self._rows):
            nodes = _nodes_of(row) + nodes
            if row:
                self._write(TilePath(level, self._full[level], len(row)), render_tile(row))
        if self._leaves:
            self._write(TilePath(None, self._full[0], len(self._leaves)), render_bundle(self._leaves))
        if nodes != self.tail.frontier.nodes:
            raise Tampered("log-batch-tree", f"the batches up to entry {self.tail.size} do not make the tree they say")
        for path in [*chain.from_iterable(self._unsynced.values()), *sorted(self._unsynced)]:
            self._sync(path)
        self._unsynced = {}
        write_mark(self._disk, self._directory, self.tail)

    def _start(self, tail: Tail) -> None:
        self.tail, self._rows, self._full, self._leaves, self._unsynced = tail, [[]], [0], [], {}

    def _load(self, mark: Tail) -> None:
        self._start(mark)
        size, level, nodes = mark.size, 0, ()  # type: int, int, tuple[bytes, ...]
        self._rows, self._full = [], []
        while level == 0 or size >> (8 * level):
            full = (size >> (8 * level)) // TILE_WIDTH
            width = tile_width(level, full, size)
            row = (
                []
                if not width
                else list(parse_tile(read_tile(self._directory, TilePath(level, full, width)), width=width))
            )
            nodes = _nodes_of(row) + nodes
            self._rows.append(row)
            self._full.append(full)
            level += 1
        self._leaves = read_entries(self._directory, size, size - size % TILE_WIDTH, size)
        if nodes != mark.frontier.nodes or merkle.leaf_hashes(self._leaves) != self._rows[0]:
            raise Unavailable("log-tile", "the tiles do not make the tree of the mark", hint="keyturn log reindex")

    def _rise(self) -> None:
        """Write the tile of each row that is full, from the leaves up, and put its root into the row above."""
        level = 0
        while len(row := self._rows[level]) == TILE_WIDTH:
            self._write(TilePath(level, self._full[level], TILE_WIDTH), render_tile(row))
            self._rows[level] = []
            self._full[level] += 1
            level += 1
            if level == len(self._rows):
                self._rows.append([])
                self._full.append(0)
            self._rows[level].append(subtree_root(row))

    def _write(self, path: TilePath, raw: bytes) -> None:
        place = self._directory / str(path)
        self._disk.replace(place, raw, durable=False)
        self._unsynced.setdefault(place.parent, []).append(place)
        if path.width == TILE_WIDTH:  # readers fall back to the full tile
            gone = place.with_name(f"{place.name}.p")
            self._unsynced.pop(gone, None)
            shutil.rmtree(gone, ignore_errors=True)

    def _sync(self, path: Path) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._disk.sync(fd)
        finally:
            os.close(fd)


def _nodes_of(row: Sequence[bytes]) -> tuple[bytes, ...]:
    return Frontier.empty().extend_hashes(row).nodes
