"""Hash trees, and make and verify inclusion and consistency proofs.

Follows RFC 6962 section 2.1 (hashes and proofs) and RFC 9162 sections 2.1.3.2 and 2.1.4.2 (verification). A proof is made
from a `HashReader`, which gives the hashes of complete subtrees: at `level` the subtree `i` covers the leaves
`i * 2**level <= leaf < (i + 1) * 2**level`. What a reader returns is not believed: a proof is worth what its verification says.

This is NOT where a root becomes trusted: see `verify_checkpoint`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from keyturn.errors import Malformed, Tampered

__all__ = [
    "EMPTY_ROOT",
    "HashReader",
    "consistency_proof",
    "inclusion_proof",
    "leaf_hash",
    "leaf_hashes",
    "node_hash",
    "root_at",
    "verify_consistency",
    "verify_inclusion",
]

HashReader = Callable[[int, int, int], Sequence[bytes]]
"""`(level, start, end)` -> hashes of the complete subtrees `start <= i < end` at that level."""

EMPTY_ROOT = hashlib.sha256(b"").digest()
PROOF_HASHES_MAX = 64


def leaf_hash(leaf: bytes) -> bytes:
    """Hash one leaf: SHA-256(0x00, leaf)."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def leaf_hashes(leaves: Sequence[bytes]) -> list[bytes]:
    """Hash many leaves, at about the speed of hashlib."""
    sha256 = hashlib.sha256
    return [sha256(b"\x00" + leaf).digest() for leaf in leaves]


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two subtrees into their parent: SHA-256(0x01, left, right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_at(size: int, read: HashReader) -> bytes:
    """Compute the root of the first `size` leaves."""
    _check(size >= 0, f"a size of at least 0, got {size}")
    return _range_root(0, size, read) if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, read: HashReader) -> tuple[bytes, ...]:
    """Make the proof that leaf `index` is in the tree of `size` leaves, from its sibling up to the root's child."""
    _check(0 <= index < size, f"an index of 0 to {size - 1}, got {index}")
    proof: list[bytes] = []
    low, high = 0, size
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            proof.append(_range_root(middle, high, read))
            high = middle
        else:
            proof.append(_range_root(low, middle, read))
            low = middle
    return tuple(reversed(proof))


def consistency_proof(old: int, new: int, read: HashReader) -> tuple[bytes, ...]:
    """Make the proof that the tree of `new` leaves begins with the tree of `old` leaves; empty when `old` is 0 or `new`."""
    _check(0 <= old <= new, f"sizes 0 <= old <= new, got {old} and {new}")
    if old in (0, new):
        return ()
    proof: list[bytes] = []
    low, high, whole = 0, new, True
    while high != old:
        middle = low + _split(high - low)
        if old <= middle:
            proof.append(_range_root(middle, high, read))
            high = middle
        else:
            proof.append(_range_root(low, middle, read))
            low, whole = middle, False
    if not whole:  # the old tree is no single subtree of the new one, so the verifier needs its last part
        proof.append(_range_root(low, high, read))
    return tuple(reversed(proof))


def verify_inclusion(hashed_leaf: bytes, *, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that the leaf with `hashed_leaf` is at `index` of the tree of `size` leaves with `root`.

    Raises `Malformed` for an impossible shape, `Tampered` for a proof of something else.
    """
    _check(0 <= index < size, f"an index of 0 to {size - 1}, got {index}")
    _check_hashes(proof, hashed_leaf, root)
    found = hashed_leaf
    node, last = index, size - 1
    for sibling in proof:
        _check(last > 0, f"fewer hashes, got {len(proof)} for {size} leaves")
        if node & 1 or node == last:
            found = node_hash(sibling, found)
            while not node & 1:  # at the right edge: levels without a sibling (`last` > 0, so a one bit comes)
                node >>= 1
                last >>= 1
        else:
            found = node_hash(found, sibling)
        node >>= 1
        last >>= 1
    _check(last == 0, f"more hashes, got {len(proof)} for {size} leaves")
    if found != root:
        raise Tampered("proof-inclusion", f"inclusion proof: leaf {index} is not in the tree of {size} leaves")


def verify_consistency(*, old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Check that the tree of `new` leaves begins with the tree of `old` leaves.

    Raises `Malformed` for an impossible shape, `Tampered` for trees that do not continue each other.
    """
    _check(0 <= old <= new, f"sizes 0 <= old <= new, got {old} and {new}")
    _check_hashes(proof, old_root, new_root)
    if old in (0, new):
        _check(not proof, f"no hashes between {old} and {new} leaves, got {len(proof)}")
        if old_root != (new_root if old == new else EMPTY_ROOT) or (new == 0 and new_root != EMPTY_ROOT):
            raise _forked(old, new)
        return
    hashes = list(proof)
    node, last = old - 1, new - 1
    while node & 1:
        node >>= 1
        last >>= 1
    if node == 0:  # `old` is a power of two: its root is the first subtree
        hashes.insert(0, old_root)
    _check(bool(hashes), f"more hashes, got {len(proof)} between {old} and {new} leaves")
    found_old = found_new = hashes[0]
    for sibling in hashes[1:]:
        _check(last > 0, f"fewer hashes, got {len(proof)} between {old} and {new} leaves")
        if node & 1 or node == last:
            found_old = node_hash(sibling, found_old)
            found_new = node_hash(sibling, found_new)
            while not node & 1:
                node >>= 1
                last >>= 1
        else:
            found_new = node_hash(found_new, sibling)
        node >>= 1
        last >>= 1
    _check(last == 0, f"more hashes, got {len(proof)} between {old} and {new} leaves")
    if found_old != old_root or found_new != new_root:
        raise _forked(old, new)


def _forked(old: int, new: int) -> Tampered:
    return Tampered(
        "proof-consistency",
        f"consistency proof: the tree of {new} leaves does not continue the tree of {old} leaves",
        hint="keep both checkpoints: together they may prove that the log was forked or rolled back",
    )


def _range_root(low: int, high: int, read: HashReader) -> bytes:
    # `low` is aligned to the largest power of two in the range, so its complete subtrees follow each other by size.
    parts: list[bytes] = []
    while low < high:
        level = (high - low).bit_length() - 1
        (found,) = read(level, low >> level, (low >> level) + 1)
        parts.append(found)
        low += 1 << level
    root = parts.pop()
    while parts:
        root = node_hash(parts.pop(), root)
    return root


def _split(width: int) -> int:
    """The largest power of two below `width`."""
    return int(1 << ((width - 1).bit_length() - 1))


def _check(holds: bool, expected: str) -> None:
    if not holds:
        raise Malformed("proof-shape", f"proof: expected {expected}")


def _check_hashes(proof: Sequence[bytes], *roots: bytes) -> None:
    _check(len(proof) <= PROOF_HASHES_MAX, f"at most {PROOF_HASHES_MAX} hashes, got {len(proof)}")
    for found in (*proof, *roots):
        _check(len(found) == 32, f"hashes of 32 bytes, got one of {len(found)}")
