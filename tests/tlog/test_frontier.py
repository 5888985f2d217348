"""A frontier has the root of all leaves it was given, however they came."""

from __future__ import annotations

import hashlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.errors import Malformed
from keyturn.tlog import merkle
from keyturn.tlog.frontier import Frontier


@given(st.lists(st.integers(0, 70), max_size=8))
def test_the_root_is_that_of_the_whole_tree_whatever_the_batches(slow_tree, batches):
    tree = slow_tree(sum(batches))
    frontier, start = Frontier.empty(), 0
    for width in batches:
        frontier = frontier.extend(tree.leaves[start : start + width])
        start += width
        assert frontier.size == start
        assert frontier.root == tree.root(start)
    assert frontier == Frontier.empty().extend(tree.leaves)
    assert hash(frontier) == hash(Frontier.empty().extend(tree.leaves))


def test_one_leaf_at_a_time_reaches_the_same_frontier_as_all_at_once(slow_tree):
    tree = slow_tree(300)
    frontier = Frontier.empty()
    for leaf in tree.leaves:
        frontier = frontier.extend([leaf])
    assert frontier == Frontier.empty().extend_hashes(merkle.leaf_hashes(tree.leaves))


def test_adding_nothing_changes_nothing():
    frontier = Frontier.empty().extend([b"a", b"b", b"c"])
    assert frontier.extend([]) == frontier


def test_the_frontier_of_nothing_has_the_empty_root():
    assert Frontier.empty().root == merkle.EMPTY_ROOT


def test_its_size_is_logarithmic():
    assert len(Frontier.empty().extend([b""] * 1023).nodes) == 10


@pytest.mark.parametrize(
    ("size", "nodes"),
    [
        pytest.param(-1, (), id="a negative size"),
        pytest.param(3, (bytes(32),), id="fewer hashes than one bits"),
        pytest.param(4, (bytes(32), bytes(32)), id="more hashes than one bits"),
        pytest.param(1, (bytes(31),), id="a hash of 31 bytes"),
    ],
)
def test_a_frontier_that_no_log_has_is_refused(size, nodes):
    with pytest.raises(Malformed) as caught:
        Frontier(size, nodes)
    assert caught.value.code == "frontier-shape"


@pytest.mark.alone
def test_256_leaves_at_a_time_cost_little_more_than_their_hashes():
    leaves = [bytes([n % 256]) * 200 for n in range(256)]
    inner = b"\x01" + bytes(64)

    def raw() -> None:
        for leaf in leaves:
            hashlib.sha256(leaf).digest()
            hashlib.sha256(inner).digest()

    def best(run) -> float:
        times = []
        for _ in range(25):
            start = time.thread_time()
            for _ in range(20):
                run()
            times.append(time.thread_time() - start)
        return min(times)

    frontier = Frontier.empty().extend(leaves[:77])
    assert best(lambda: frontier.extend(leaves)) < 2 * best(raw)
