"""Follow a growing log with memory for its right edge only: a compact range from leaf 0.

A `Frontier` holds one hash for each one bit of its size (RFC 6962 section 2.1): enough to add leaves and to compute the root, at
about the speed of hashing them. Two readers with equal frontiers have read the same leaves.

This is NOT proof that a log showed these leaves: compare `root` with that of a `WitnessedCheckpoint` of the same size.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from keyturn.errors import Malformed
from keyturn.tlog import merkle

__all__ = ["Frontier"]


@dataclass(frozen=True, slots=True)
class Frontier:
    """`nodes` are the complete subtrees that make up the first `size` leaves, largest first."""

    size: int
    nodes: tuple[bytes, ...]

    def __post_init__(self) -> None:
        if self.size < 0 or len(self.nodes) != self.size.bit_count():
            raise Malformed(
                "frontier-shape", f"frontier: expected one hash for each one bit of {self.size}, got {len(self.nodes)}"
            )
        if any(len(node) != 32 for node in self.nodes):
            raise Malformed("frontier-shape", "frontier: expected hashes of 32 bytes")

    @classmethod
    def empty(cls) -> Self:
        """The frontier of no leaves."""
        return cls(0, ())

    @property
    def root(self) -> bytes:
        """The RFC 6962 root of the first `size` leaves."""
        if not self.nodes:
            return merkle.EMPTY_ROOT
        *parts, root = self.nodes
        for part in reversed(parts):
            root = merkle.node_hash(part, root)
        return root

    def extend(self, leaves: Sequence[bytes]) -> Self:
        """The frontier after `leaves` (their bytes) were added in order. Hand over hundreds at a time."""
        return self.extend_hashes(merkle.leaf_hashes(leaves))

    def extend_hashes(self, hashes: Sequence[bytes]) -> Self:
        """The frontier after leaves with these leaf hashes were added in order."""
        sha256 = hashlib.sha256
        size = self.size + len(hashes)
        row = list(hashes)
        rest = list(self.nodes)
        made: list[bytes] = []
        before = self.size
        # One level at a time: what was left open on this level goes before the new hashes, what has no partner stays
        # open, and the pairs go up.
        while row:
            if before & 1:
                row.insert(0, rest.pop())
            if len(row) & 1:
                made.append(row.pop())
            pairs = iter(row)
            row = [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=True)]
            before >>= 1
        return type(self)(size, (*rest, *reversed(made)))
