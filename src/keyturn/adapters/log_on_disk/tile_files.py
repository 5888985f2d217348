"""Read C2SP tiles and entry bundles from static files, and the mark that says how far they are derived.

The mark `derived` is canonical JSON: {"frontier": [..], "offset": .., "pack": .., "size": ..}; tiles up to there are
synced. A tile is not evidence: readers verify what they compute from it.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from keyturn.adapters.files.plain_files import read_plain
from keyturn.adapters.log_on_disk.disk import Disk
from keyturn.adapters.log_on_disk.pack import START, Tail
from keyturn.errors import Malformed, Unavailable
from keyturn.formats import base64_text, canonical_json
from keyturn.formats.tile import ENTRY_BYTES_MAX, TILE_WIDTH, TilePath, parse_bundle, render_bundle
from keyturn.tlog.frontier import Frontier
from keyturn.tlog.tiles import hash_reader

__all__ = ["read_entries", "read_hashes", "read_mark", "read_tile", "write_mark"]


_TILE_BYTES_MAX = TILE_WIDTH * (2 + ENTRY_BYTES_MAX)
"""Of a bundle of the largest entries; a tile of hashes has less."""


class _Mark(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    frontier: tuple[str, ...]
    offset: int
    pack: int
    size: int


def read_mark(directory: Path) -> Tail:
    """How far tiles are derived and synced."""
    try:
        raw = read_plain(directory / "derived", size_bytes_max=canonical_json.SIZE_BYTES_MAX)
    except FileNotFoundError:
        return START
    except OSError as err:
        raise Unavailable("log-tile", f"`derived` cannot be read: {err.strerror}", hint="keyturn log reindex") from err
    mark = canonical_json.decode(raw, _Mark, what="log mark")
    nodes = tuple(base64_text.decode(node, what="log mark") for node in mark.frontier)
    return Tail(Frontier(mark.size, nodes), mark.pack, mark.offset)


def write_mark(disk: Disk, directory: Path, tail: Tail) -> None:
    """Say that tiles are derived and synced up to `tail`; durable."""
    mark = _Mark(
        frontier=tuple(base64_text.encode(node) for node in tail.frontier.nodes),
        offset=tail.offset,
        pack=tail.pack,
        size=tail.size,
    )
    disk.replace(directory / "derived", canonical_json.encode(mark), durable=True)


def read_hashes(directory: Path, size: int, level: int, start: int, end: int) -> list[bytes]:
    """Tree hashes at the binary `level`, from tiles of a log of `size` leaves."""
    if not 0 <= level < 64:
        raise Unavailable("log-range", f"no subtrees at level {level}")
    read = hash_reader(size, lambda tile_level, index, width: read_tile(directory, TilePath(tile_level, index, width)))
    try:
        return list(read(level, start, end))
    except Malformed as err:
        raise Unavailable("log-range", f"the log of {size} leaves cannot give these hashes: {err.message}") from err


def read_entries(directory: Path, size: int, start: int, end: int) -> list[bytes]:
    """Leaves `start <= i < end` of a log of `size` leaves."""
    if not 0 <= start <= end <= size:
        raise Unavailable("log-range", f"expected leaves of the first {size}, got {start} to {end}")
    found: list[bytes] = []
    for index in range(start // TILE_WIDTH, -(-end // TILE_WIDTH)):
        first = index * TILE_WIDTH
        path = TilePath(None, index, min(TILE_WIDTH, size - first))
        try:
            bundle = parse_bundle(read_tile(directory, path), width=path.width)
        except Malformed as err:
            raise Unavailable("log-tile", f"`{path}` is damaged: {err.message}", hint="keyturn log reindex") from err
        found += bundle[max(0, start - first) : end - first]
    return found


def read_tile(directory: Path, path: TilePath) -> bytes:
    """Read one tile or bundle; a partial one may be cut out of the full one, which replaces it."""
    try:
        return read_plain(directory / str(path), size_bytes_max=_TILE_BYTES_MAX)
    except FileNotFoundError as err:
        if path.width == TILE_WIDTH:
            raise Unavailable("log-tile", f"`{path}` is not there") from err
    except OSError as err:
        raise Unavailable("log-tile", f"`{path}` cannot be read: {err.strerror}", hint="keyturn log reindex") from err
    full = read_tile(directory, TilePath(path.level, path.index, TILE_WIDTH))
    if path.level is not None:
        return full[: 32 * path.width]
    try:
        return render_bundle(parse_bundle(full, width=TILE_WIDTH)[: path.width])
    except Malformed as err:
        raise Unavailable("log-tile", f"`{path}` is damaged: {err.message}", hint="keyturn log reindex") from err
