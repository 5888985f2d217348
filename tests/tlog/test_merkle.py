"""Proofs are made and verified as RFC 6962 says, and nothing else verifies."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.errors import KeyturnError, Malformed, Tampered
from keyturn.tlog import merkle

# The tree of RFC 6962's reference implementation (certificate-transparency, merkletree tests): inputs and roots.
REFERENCE_LEAVES = tuple(
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
)
REFERENCE_ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)


def reader(leaves):
    hashes = merkle.leaf_hashes(leaves)

    def root(part):
        if len(part) == 1:
            return part[0]
        half = len(part) // 2
        return merkle.node_hash(root(part[:half]), root(part[half:]))

    return lambda level, start, end: [root(hashes[i << level : (i + 1) << level]) for i in range(start, end)]


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_are_those_of_the_reference_implementation(size):
    assert merkle.root_at(size, reader(REFERENCE_LEAVES)).hex() == REFERENCE_ROOTS[size - 1]


def test_the_empty_tree_has_the_hash_of_nothing():
    assert merkle.root_at(0, reader(())) == merkle.EMPTY_ROOT == hashlib.sha256(b"").digest()


def test_a_leaf_never_hashes_like_a_node():
    left, right = merkle.leaf_hash(b"a"), merkle.leaf_hash(b"b")
    assert merkle.leaf_hash(left + right) != merkle.node_hash(left, right)


def test_every_leaf_of_every_small_tree_is_proved_in_its_place_only(slow_tree):
    tree = slow_tree(40)
    for size in range(1, 41):
        root = tree.root(size)
        for index in range(size):
            proof = merkle.inclusion_proof(index, size, tree.read)
            merkle.verify_inclusion(tree.hashes[index], index=index, size=size, proof=proof, root=root)
            for other in {index - 1, index + 1, size - 1, 0} - {index, -1, size}:
                with pytest.raises(KeyturnError):
                    merkle.verify_inclusion(tree.hashes[index], index=other, size=size, proof=proof, root=root)


def test_every_pair_of_small_trees_is_proved_consistent(slow_tree):
    tree = slow_tree(40)
    for new in range(41):
        for old in range(new + 1):
            proof = merkle.consistency_proof(old, new, tree.read)
            merkle.verify_consistency(old=old, old_root=tree.root(old), new=new, new_root=tree.root(new), proof=proof)


@given(st.data(), st.integers(2, 300))
def test_no_altered_inclusion_proof_verifies(slow_tree, data, size):
    tree = slow_tree(300)
    index = data.draw(st.integers(0, size - 1))
    proof = list(merkle.inclusion_proof(index, size, tree.read))
    root, leaf = tree.root(size), tree.hashes[index]
    merkle.verify_inclusion(leaf, index=index, size=size, proof=proof, root=root)
    match data.draw(st.sampled_from(["flip", "drop", "add", "swap-root", "other-leaf"])):
        case "flip":
            at = data.draw(st.integers(0, len(proof) - 1))
            bit = data.draw(st.integers(0, 255))
            proof[at] = (int.from_bytes(proof[at], "big") ^ (1 << bit)).to_bytes(32, "big")
        case "drop":
            del proof[data.draw(st.integers(0, len(proof) - 1))]
        case "add":
            proof.insert(data.draw(st.integers(0, len(proof))), bytes(32))
        case "swap-root":
            root = tree.root(size - 1)
        case "other-leaf":
            leaf = merkle.leaf_hash(b"another")
    with pytest.raises((Malformed, Tampered)):
        merkle.verify_inclusion(leaf, index=index, size=size, proof=proof, root=root)


@given(st.data(), st.integers(2, 300))
def test_no_altered_consistency_proof_verifies(slow_tree, data, new):
    tree = slow_tree(300)
    old = data.draw(st.integers(1, new - 1))
    proof = list(merkle.consistency_proof(old, new, tree.read))
    old_root, new_root = tree.root(old), tree.root(new)
    match data.draw(st.sampled_from(["flip", "drop", "add", "old-root", "new-root", "other-old"])):
        case "flip":
            at = data.draw(st.integers(0, len(proof) - 1))
            bit = data.draw(st.integers(0, 255))
            proof[at] = (int.from_bytes(proof[at], "big") ^ (1 << bit)).to_bytes(32, "big")
        case "drop":
            del proof[data.draw(st.integers(0, len(proof) - 1))]
        case "add":
            proof.insert(data.draw(st.integers(0, len(proof))), bytes(32))
        case "old-root":
            old_root = merkle.node_hash(old_root, old_root)
        case "new-root":
            new_root = merkle.node_hash(new_root, new_root)
        case "other-old":
            old = min(new, old + 1)
    with pytest.raises((Malformed, Tampered)):
        merkle.verify_consistency(old=old, old_root=old_root, new=new, new_root=new_root, proof=proof)


def test_a_fork_is_called_tampering_by_name(slow_tree):
    tree = slow_tree(8)
    proof = merkle.consistency_proof(5, 8, tree.read)
    with pytest.raises(Tampered) as caught:
        merkle.verify_consistency(old=5, old_root=b"\x01" * 32, new=8, new_root=tree.root(8), proof=proof)
    assert caught.value.code == "proof-consistency"


@pytest.mark.parametrize(
    ("old", "old_root", "new", "new_root"),
    [
        pytest.param(0, b"\x01" * 32, 3, b"\x02" * 32, id="an empty tree with a root that is not the empty root"),
        pytest.param(3, b"\x01" * 32, 3, b"\x02" * 32, id="the same size with two roots"),
        pytest.param(0, b"\x01" * 32, 0, b"\x01" * 32, id="two empty trees with a root that is not the empty root"),
        pytest.param(0, merkle.EMPTY_ROOT, 0, b"\x01" * 32, id="an empty tree that becomes another empty tree"),
    ],
)
def test_degenerate_sizes_with_wrong_roots_are_tampering(old, old_root, new, new_root):
    with pytest.raises(Tampered):
        merkle.verify_consistency(old=old, old_root=old_root, new=new, new_root=new_root, proof=())


@pytest.mark.parametrize(
    ("old", "new", "proof"),
    [
        pytest.param(5, 4, (), id="a tree that shrinks"),
        pytest.param(-1, 4, (), id="a negative size"),
        pytest.param(0, 4, (bytes(32),), id="hashes where none are needed, from nothing"),
        pytest.param(4, 4, (bytes(32),), id="hashes where none are needed, between equals"),
        pytest.param(3, 4, (), id="no hashes at all"),
        pytest.param(4, 8, (), id="no hashes after a power of two"),
        pytest.param(4, 8, (bytes(32), bytes(32)), id="one hash too many"),
        pytest.param(1, 2**40, (bytes(32),) * 65, id="more hashes than any tree has levels"),
        pytest.param(3, 4, (bytes(31), bytes(32)), id="a hash of 31 bytes"),
        pytest.param(3, 4, (bytes(33), bytes(32)), id="a hash of 33 bytes"),
        pytest.param(2**63, 2**63 + 1, (), id="sizes beyond 2^63"),
    ],
)
def test_a_consistency_proof_of_an_impossible_shape_is_malformed(old, new, proof):
    with pytest.raises(Malformed) as caught:
        merkle.verify_consistency(old=old, old_root=bytes(32), new=new, new_root=bytes(32), proof=proof)
    assert caught.value.code == "proof-shape"


@pytest.mark.parametrize(
    ("index", "size", "leaf", "proof", "root"),
    [
        pytest.param(0, 0, bytes(32), (), bytes(32), id="a leaf of the empty tree"),
        pytest.param(3, 3, bytes(32), (bytes(32),), bytes(32), id="an index past the end"),
        pytest.param(-1, 3, bytes(32), (bytes(32),), bytes(32), id="a negative index"),
        pytest.param(0, 1, bytes(32), (bytes(32),), bytes(32), id="a hash for a single leaf"),
        pytest.param(0, 2, bytes(32), (), bytes(32), id="no hash for two leaves"),
        pytest.param(0, 2, b"leaf", (bytes(32),), bytes(32), id="a leaf that was not hashed"),
        pytest.param(0, 2, bytes(32), (b"",), bytes(32), id="an empty hash"),
        pytest.param(0, 1, bytes(32), (), bytes(20), id="a short root"),
        pytest.param(2**63, 2**64, bytes(32), (bytes(32),) * 64, b"\x01" * 64, id="a root of two hashes"),
    ],
)
def test_an_inclusion_proof_of_an_impossible_shape_is_malformed(index, size, leaf, proof, root):
    with pytest.raises(Malformed) as caught:
        merkle.verify_inclusion(leaf, index=index, size=size, proof=proof, root=root)
    assert caught.value.code == "proof-shape"


def test_a_single_leaf_is_its_own_root():
    leaf = merkle.leaf_hash(b"only")
    merkle.verify_inclusion(leaf, index=0, size=1, proof=(), root=leaf)
    with pytest.raises(Tampered):
        merkle.verify_inclusion(leaf, index=0, size=1, proof=(), root=bytes(32))


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda read: merkle.root_at(-1, read), id="the root of a negative size"),
        pytest.param(lambda read: merkle.inclusion_proof(3, 3, read), id="a leaf past the end"),
        pytest.param(lambda read: merkle.inclusion_proof(0, 0, read), id="a leaf of nothing"),
        pytest.param(lambda read: merkle.consistency_proof(4, 3, read), id="a tree that shrinks"),
    ],
)
def test_no_proof_is_made_of_what_is_not_there(make):
    with pytest.raises(Malformed):
        make(lambda level, start, end: pytest.fail("nothing is read"))
