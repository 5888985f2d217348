"""Which tiles' subtrees become complete when leaves are added: the rows of `index.subtree`, from the tree's right edge alone.

A row (level, idx) is the hash of the complete subtree `idx` of 256^level leaves: one entry of the C2SP tile at that level.
There is one row for 255 leaves, and the lowest tiles are hashed from the leaves themselves.
"""

from __future__ import annotations

from collections.abc import Sequence

from keyturn.formats.tile import TILE_WIDTH
from keyturn.tlog.frontier import Frontier

__all__ = ["Subtree", "completed"]

Subtree = tuple[int, int, bytes]
"""(level, index, hash)."""


def completed(before: Frontier, hashes: Sequence[bytes]) -> list[Subtree]:
    """The subtrees of 256, 256^2, ... leaves that leaves with these `hashes` complete, added behind `before`."""
    found: list[Subtree] = []
    level, row = 0, list(hashes)
    while row:
        below = (before.size & ((1 << 8 * level) - 1)).bit_count()
        inside = before.size >> 8 * level & 255
        end = len(before.nodes) - below
        edge = Frontier(inside, before.nodes[end - inside.bit_count() : end])
        index, made, at = before.size >> 8 * (level + 1), [], 0  # type: int, list[bytes], int
        while at < len(row):
            taken = row[at : at + TILE_WIDTH - edge.size]
            edge = edge.extend_hashes(taken)
            at += len(taken)
            if edge.size == TILE_WIDTH:
                made.append(edge.nodes[0])
                edge = Frontier.empty()
        level += 1
        found += [(level, index + i, node) for i, node in enumerate(made)]
        row = made
    return found
