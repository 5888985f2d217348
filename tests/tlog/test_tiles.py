"""Any hash of the tree is read from tiles."""

from __future__ import annotations

import pytest

from keyturn.errors import Malformed
from keyturn.formats.tile import render_tile
from keyturn.tlog import merkle
from keyturn.tlog.frontier import Frontier
from keyturn.tlog.tiles import hash_reader, subtree_root

SIZE = 256 * 3 + 77
LEAVES = [b"leaf %d" % n for n in range(SIZE)]
HASHES = merkle.leaf_hashes(LEAVES)


def read_tile(level, index, width):
    assert 1 <= width <= 256
    if level == 0:
        return render_tile(HASHES[index * 256 : index * 256 + width])
    assert level == 1
    return render_tile([subtree_root(HASHES[n * 256 : (n + 1) * 256]) for n in range(width)])


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 511, 512, 513, SIZE])
def test_roots_and_proofs_come_out_of_tiles(size):
    read = hash_reader(size, read_tile)
    root = Frontier.empty().extend(LEAVES[:size]).root
    assert merkle.root_at(size, read) == root
    for index in {0, size // 2, size - 1}:
        proof = merkle.inclusion_proof(index, size, read)
        merkle.verify_inclusion(HASHES[index], index=index, size=size, proof=proof, root=root)
    for old in {1, size // 3 + 1, size}:
        old_root = Frontier.empty().extend(LEAVES[:old]).root
        proof = merkle.consistency_proof(old, size, read)
        merkle.verify_consistency(old=old, old_root=old_root, new=size, new_root=root, proof=proof)


def test_a_wider_tile_than_asked_for_will_do():
    read = hash_reader(300, lambda level, index, width: read_tile(level, index, 256 if level == 0 else width))
    assert merkle.root_at(300, read) == Frontier.empty().extend(LEAVES[:300]).root


def test_neighbours_are_read_from_one_tile_once():
    asked = []

    def read_and_count(level, index, width):
        asked.append((level, index, width))
        return read_tile(level, index, width)

    assert hash_reader(SIZE, read_and_count)(0, 200, 300) == HASHES[200:300]
    assert asked == [(0, 0, 256), (0, 1, 256)]


@pytest.mark.parametrize(
    ("level", "start", "end"),
    [
        pytest.param(0, 0, 11, id="leaves past the end"),
        pytest.param(3, 1, 2, id="a subtree that is not complete"),
        pytest.param(0, 3, 2, id="an end before the start"),
        pytest.param(0, -1, 2, id="a negative start"),
        pytest.param(60, 0, 1, id="a level that no such log has"),
    ],
)
def test_subtrees_that_are_not_complete_are_refused(level, start, end):
    with pytest.raises(Malformed) as caught:
        hash_reader(10, read_tile)(level, start, end)
    assert caught.value.code == "tile-range"


def test_a_short_tile_is_refused():
    with pytest.raises(Malformed) as caught:
        hash_reader(10, lambda level, index, width: bytes(32 * 9))(0, 0, 1)
    assert caught.value.code == "tile-length"


@pytest.mark.parametrize(
    "hashes",
    [
        pytest.param([], id="none"),
        pytest.param([bytes(32)] * 3, id="three"),
        pytest.param([bytes(31)], id="a hash of 31 bytes"),
    ],
)
def test_only_complete_subtrees_of_whole_hashes_have_a_root(hashes):
    with pytest.raises(Malformed):
        subtree_root(hashes)
