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
        self._proof: tuple[bytes, ...] = ()
        self._way: list[bytes] = []
        """The hashes of the leaf verified last and of the complete subtrees above it, by level."""

    def verify(self, hashed_leaf: bytes, *, index: int, proof: Sequence[bytes]) -> None:
        """Check that the leaf with `hashed_leaf` is at `index`; raises what `merkle.verify_inclusion` raises."""
        given = tuple(proof)
        if not self._follows(hashed_leaf, index, given):
            merkle.verify_inclusion(hashed_leaf, index=index, size=self._size, proof=given, root=self._root)
            self._way = self._way_up(hashed_leaf, index, given)
        self._index, self._proof = index, given

    def _follows(self, hashed_leaf: bytes, index: int, proof: tuple[bytes, ...]) -> bool:
        """Whether `proof` meets that of the leaf before in a complete subtree that holds both, and is the same from there on."""
        if self._index < 0 or index < 0:
            return False
        shared = (index ^ self._index).bit_length()
        if shared == 0 or ((index >> shared) + 1) << shared > self._size:
            return False
        if len(proof) != len(self._proof) or proof[shared:] != self._proof[shared:]:
            return False
        if any(len(found) != 32 for found in (hashed_leaf, *proof[:shared])):
            return False  # two hashes of other lengths could make up the same bytes
        way = _climbed(hashed_leaf, index, proof[: shared - 1])
        if (way[-1], proof[shared - 1]) != (self._proof[shared - 1], self._way[shared - 1]):
            return False
        self._way[:shared] = way
        return True

    def _way_up(self, hashed_leaf: bytes, index: int, proof: tuple[bytes, ...]) -> list[bytes]:
        levels = 0
        while ((index >> (levels + 1)) + 1) << (levels + 1) <= self._size:
            levels += 1
        return _climbed(hashed_leaf, index, proof[:levels])


def _climbed(hashed_leaf: bytes, index: int, siblings: Sequence[bytes]) -> list[bytes]:
    way = [hashed_leaf]
    for level, sibling in enumerate(siblings):
        if index >> level & 1:
            way.append(merkle.node_hash(sibling, way[-1]))
        else:
            way.append(merkle.node_hash(way[-1], sibling))
    return way
