"""Verify the inclusion proofs of many leaves of one tree: what two of them share is hashed once, and must be the same in both.

Two leaves have the same hashes from the subtree on that holds both. So of the next leaf only the way up to that subtree is
hashed: what comes out there, and what its proof says beside it, are compared with what the proof before had, which led to the
root. Leaves may come in any order; close together they are cheap.

Whatever does not fit is verified by itself (`merkle.verify_inclusion`), which says what is wrong: nothing is accepted here that
is not accepted there.
"""

from __future__ import annotations

from collections.abc import Sequence

from keyturn.tlog import merkle

__all__ = ["Inclusions"]


class Inclusions:
    """The leaves of the tree of `size` leaves with `root`."""

    def __init__(self, *, size: int, root: bytes) -> None:
        self._size = size
        self._root = root
        self._index = -1
        self._proof = b""
        self._way: list[bytes] = []
        """The hashes of the leaf verified last and of the complete subtrees above it, by level."""

    def verify(self, hashed_leaf: bytes, *, index: int, proof: bytes) -> None:
        """Check that the leaf with `hashed_leaf` is at `index`; `proof` is its hashes, of 32 bytes each, one after the other.

        Raises what `merkle.verify_inclusion` raises.
        """
        if not self._follows(hashed_leaf, index, proof):
            hashes = [proof[at : at + 32] for at in range(0, len(proof), 32)]
            merkle.verify_inclusion(hashed_leaf, index=index, size=self._size, proof=hashes, root=self._root)
            self._way = self._way_up(hashed_leaf, index, hashes)
        self._index, self._proof = index, proof

    def _follows(self, hashed_leaf: bytes, index: int, proof: bytes) -> bool:
        """Whether `proof` meets that of the leaf before in a complete subtree that holds both, and is the same from there on."""
        if self._index < 0 or index < 0:
            return False
        shared = (index ^ self._index).bit_length()
        if shared == 0 or ((index >> shared) + 1) << shared > self._size:
            return False
        before, level = self._proof, 32 * shared
        if len(proof) != len(before) or len(hashed_leaf) != 32 or not proof.startswith(before[level:], level):
            return False
        way = [hashed_leaf]
        for at in range(shared - 1):
            sibling = proof[32 * at : 32 * at + 32]
            way.append(_parent(way[-1], sibling, right=index >> at & 1))
        if way[-1] != before[level - 32 : level] or proof[level - 32 : level] != self._way[shared - 1]:
            return False
        self._way[:shared] = way
        return True

    def _way_up(self, hashed_leaf: bytes, index: int, proof: Sequence[bytes]) -> list[bytes]:
        way = [hashed_leaf]
        while ((index >> len(way)) + 1) << len(way) <= self._size:
            way.append(_parent(way[-1], proof[len(way) - 1], right=index >> (len(way) - 1) & 1))
        return way


def _parent(found: bytes, sibling: bytes, *, right: int) -> bytes:
    return merkle.node_hash(sibling, found) if right else merkle.node_hash(found, sibling)
