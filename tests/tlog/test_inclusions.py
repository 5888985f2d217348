"""Many inclusion proofs under one root: each is accepted and refused as it is by itself, in whatever order they come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.errors import KeyturnError
from keyturn.tlog import merkle
from keyturn.tlog.inclusions import Inclusions


def alone(hashed, *, index, size, proof, root):
    try:
        merkle.verify_inclusion(hashed, index=index, size=size, proof=proof, root=root)
    except KeyturnError as err:
        return err.code, err.message
    return None


def joined(index, size, tree):
    return b"".join(merkle.inclusion_proof(index, size, tree.read))


def among(checks, hashed, *, index, proof):
    try:
        checks.verify(hashed, index=index, proof=b"".join(proof))
    except KeyturnError as err:
        return err.code, err.message
    return None


def test_every_leaf_of_every_small_tree_is_proved_in_any_order(slow_tree):
    tree = slow_tree(40)
    for size in range(1, 41):
        for order in (range(size), reversed(range(size)), [i * 7 % size for i in range(size)], [0, 0]):
            checks = Inclusions(size=size, root=tree.root(size))
            for index in order:
                checks.verify(tree.hashes[index], index=index, proof=joined(index, size, tree))


@given(st.data(), st.integers(2, 70))
def test_what_is_wrong_after_a_right_one_is_refused_as_it_is_alone(slow_tree, data, size):
    tree, draw = slow_tree(300), data.draw
    root = tree.root(size)
    first, index = draw(st.integers(0, size - 1)), draw(st.integers(0, size - 1))
    proof = list(merkle.inclusion_proof(index, size, tree.read))
    hashed, place = tree.hashes[index], index
    match draw(st.sampled_from(["sibling", "leaf", "place", "missing", "more", "cut", "shift"])):
        case "sibling" if proof:
            level = draw(st.integers(0, len(proof) - 1))
            proof[level] = bytes([proof[level][0] ^ 1]) + proof[level][1:]
        case "leaf":
            hashed = merkle.leaf_hash(b"other")
        case "place":
            place = draw(st.integers(-2, size + 2))
        case "missing" if proof:
            del proof[draw(st.integers(0, len(proof) - 1))]
        case "more":
            proof.insert(draw(st.integers(0, len(proof))), hashed)
        case "cut" if proof:
            proof[0] = proof[0][:31]
        case "shift" if proof:  # the same bytes under the node, cut in two at another place
            together = proof[0] + hashed if index & 1 else hashed + proof[0]
            left, right = together[:31], together[31:]
            hashed, proof[0] = (right, left) if index & 1 else (left, right)
    checks = Inclusions(size=size, root=root)
    checks.verify(tree.hashes[first], index=first, proof=joined(first, size, tree))
    together = b"".join(proof)  # and taken apart again, where the hashes end
    proof = [together[at : at + 32] for at in range(0, len(together), 32)]
    expected = alone(hashed, index=place, size=size, proof=proof, root=root)
    assert among(checks, hashed, index=place, proof=proof) == expected
    # And whatever came before, a right one is right.
    checks.verify(tree.hashes[index], index=index, proof=joined(index, size, tree))


@pytest.mark.parametrize("size", [16, 21])
def test_no_hash_of_a_proof_is_left_unlooked_at_whatever_came_before(slow_tree, size):
    tree = slow_tree(40)
    proofs = [merkle.inclusion_proof(index, size, tree.read) for index in range(size)]
    for first in range(size):
        for index in range(size):
            for level in range(len(proofs[index])):
                altered = list(proofs[index])
                altered[level] = merkle.leaf_hash(b"altered")
                checks = Inclusions(size=size, root=tree.root(size))
                checks.verify(tree.hashes[first], index=first, proof=b"".join(proofs[first]))
                with pytest.raises(KeyturnError):
                    checks.verify(tree.hashes[index], index=index, proof=b"".join(altered))


def test_what_two_proofs_share_is_hashed_once(slow_tree, monkeypatch: pytest.MonkeyPatch):
    tree = slow_tree(256)
    proofs = [joined(index, 256, tree) for index in range(256)]
    checks, counted = Inclusions(size=256, root=tree.root(256)), []
    real = merkle.node_hash
    monkeypatch.setattr(merkle, "node_hash", lambda left, right: counted.append(1) or real(left, right))
    for index, proof in enumerate(proofs):
        checks.verify(tree.hashes[index], index=index, proof=proof)
    assert len(counted) < 256 + 2 * 8, "about one for each leaf, and not eight"
