"""Hash tiles, and read any hash of the tree from them.

Follows C2SP tlog-tiles: the tile at level `l` holds hashes of complete subtrees of `256**l` leaves. `hash_reader` turns
tiles into what `merkle` makes proofs from. Tiles are not believed: a wrong one makes a proof that does not verify.

This is NOT where tiles are fetched or stored: `read_tile` is an argument.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from keyturn.errors import Malformed
from keyturn.formats.tile import TILE_WIDTH, parse_tile, tile_width
from keyturn.tlog.merkle import HashReader

__all__ = ["TileReader", "hash_reader", "subtree_root"]

TileReader = Callable[[int, int, int], bytes]
"""`(tile level, index, width)` -> the bytes of that tile, at least `width` hashes (a wider tile begins with them)."""


def subtree_root(hashes: Sequence[bytes]) -> bytes:
    """Hash 1, 2, 4, ... 256 neighbouring hashes into the root of their complete subtree."""
    if not hashes or len(hashes) & (len(hashes) - 1) or {*map(len, hashes)} != {32}:
        raise Malformed("tile-length", f"tile: expected a power of two of 32-byte hashes, got {len(hashes)}")
    row, sha256 = list(hashes), hashlib.sha256
    while len(row) > 1:
        pairs = iter(row)
        row = [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=True)]
    return row[0]


def hash_reader(size: int, read_tile: TileReader) -> HashReader:
    """Read hashes of the tree of `size` leaves through `read_tile`; `Malformed` for subtrees that are not complete in it."""

    def read(level: int, start: int, end: int) -> Sequence[bytes]:
        if not 0 <= start <= end or end << level > size:
            raise Malformed("tile-range", f"tile: no subtrees {start} to {end} at level {level} among {size} leaves")
        tile_level, inside = divmod(level, 8)
        found: list[bytes] = []
        index = -1
        hashes: tuple[bytes, ...] = ()
        for number in range(start, end):
            first = number << inside
            if first // TILE_WIDTH != index:
                index = first // TILE_WIDTH
                hashes = _read(read_tile, tile_level, index, size)
            offset = first % TILE_WIDTH
            found.append(subtree_root(hashes[offset : offset + (1 << inside)]))
        return found

    return read


def _read(read_tile: TileReader, level: int, index: int, size: int) -> tuple[bytes, ...]:
    width = tile_width(level, index, size)
    return parse_tile(read_tile(level, index, width)[: width * 32], width=width)
