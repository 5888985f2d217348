"""Name and split the static files of a tiled log: tiles of hashes, and bundles of entries.

Follows C2SP tlog-tiles: `tile/<L>/<N>[.p/<W>]` and `tile/entries/<N>[.p/<W>]`; a full tile holds 256 hashes; a bundle is
entries with big-endian uint16 lengths. One tile has one path. Nothing here hashes; see `tlog.tiles`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from keyturn.errors import Malformed

__all__ = [
    "ENTRY_BYTES_MAX",
    "TILE_WIDTH",
    "TilePath",
    "parse_bundle",
    "parse_tile",
    "render_bundle",
    "render_tile",
    "tile_width",
]

TILE_WIDTH = 256
HASH_BYTES = 32
ENTRY_BYTES_MAX = 2**16 - 1
LEVEL_MAX = 63
INDEX_MAX = 2**53 - 1

_PATH = re.compile(r"tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/){0,5}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?\Z")


@dataclass(frozen=True, slots=True, order=True)
class TilePath:
    """Where a tile is served. `level` is None for an entry bundle; `width` is 256, or less for a partial one.

    >>> str(TilePath(0, 1234067, 256)), str(TilePath(None, 5, 17))
    ('tile/0/x001/x234/067', 'tile/entries/005.p/17')
    """

    level: int | None
    index: int
    width: int

    def __post_init__(self) -> None:
        fits = self.level is None or 0 <= self.level <= LEVEL_MAX
        if not fits or not 0 <= self.index <= INDEX_MAX or not 1 <= self.width <= TILE_WIDTH:
            raise Malformed("tile-path", f"tile: no tile {self.index} of width {self.width} at level {self.level}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a path relative to the log's prefix, or raise `Malformed`; no other path of that tile is accepted."""
        found = _PATH.match(text) if len(text) <= 80 else None
        if found is None:
            raise Malformed("tile-path", f"tile: expected `tile/<level>/<index>[.p/<width>]`, got `{text[:80]}`")
        level, index, width = found.groups()
        path = cls(
            None if level == "entries" else int(level),
            int(index.replace("x", "").replace("/", "")),
            TILE_WIDTH if width is None else int(width),
        )
        if str(path) != text:
            raise Malformed("tile-path", f"tile: expected `{path}`, got `{text}`")
        return path

    def __str__(self) -> str:
        digits = str(self.index)
        digits = digits.zfill((len(digits) + 2) // 3 * 3)
        groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
        place = "entries" if self.level is None else str(self.level)
        partial = "" if self.width == TILE_WIDTH else f".p/{self.width}"
        return f"tile/{place}/{'/'.join([*('x' + group for group in groups[:-1]), groups[-1]])}{partial}"


def tile_width(level: int, index: int, size: int) -> int:
    """How many hashes tile `index` at tile level `level` has in a tree of `size` leaves; 0 when it is not there.

    >>> [tile_width(0, 273, 70_000), tile_width(1, 1, 70_000), tile_width(2, 0, 70_000), tile_width(0, 0, 70_000)]
    [112, 17, 1, 256]
    """
    return max(0, min(TILE_WIDTH, (size >> (8 * level)) - index * TILE_WIDTH))


def parse_tile(raw: bytes, *, width: int) -> tuple[bytes, ...]:
    """Split a tile into its `width` hashes, or raise `Malformed`."""
    if len(raw) != width * HASH_BYTES:
        raise Malformed("tile-length", f"tile: expected {width * HASH_BYTES} bytes for {width} hashes, got {len(raw)}")
    return tuple(raw[i : i + HASH_BYTES] for i in range(0, len(raw), HASH_BYTES))


def render_tile(hashes: Sequence[bytes]) -> bytes:
    """Render 1 to 256 hashes as a tile."""
    if not 1 <= len(hashes) <= TILE_WIDTH or {*map(len, hashes)} != {HASH_BYTES}:
        raise Malformed("tile-length", f"tile: expected 1 to {TILE_WIDTH} hashes of {HASH_BYTES} bytes")
    return b"".join(hashes)


def parse_bundle(raw: bytes, *, width: int) -> tuple[bytes, ...]:
    """Split an entry bundle into its `width` entries, or raise `Malformed`; nothing may be left over."""
    entries: list[bytes] = []
    position, end = 0, len(raw)
    for _ in range(width):
        start = position + 2
        position = start + int.from_bytes(raw[position:start], "big")
        if start > end or position > end:
            raise Malformed("bundle-truncated", f"entry bundle: expected {width} entries, got {len(entries)}")
        entries.append(raw[start:position])
    if position != end:
        raise Malformed("bundle-trailing", f"entry bundle: {end - position} bytes after the last of {width} entries")
    return tuple(entries)


def render_bundle(entries: Sequence[bytes]) -> bytes:
    """Render 1 to 256 entries as a bundle."""
    if not 1 <= len(entries) <= TILE_WIDTH or max(map(len, entries)) > ENTRY_BYTES_MAX:
        raise Malformed(
            "bundle-length", f"entry bundle: expected 1 to {TILE_WIDTH} entries of at most {ENTRY_BYTES_MAX} bytes"
        )
    return b"".join([len(entry).to_bytes(2, "big") + entry for entry in entries])
