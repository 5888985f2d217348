"""Walking a graph breadth first: what is reached, by which path, and what a bound leaves out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from keyturn.custody.descent import Links, walk


def links_of(graph: Mapping[int, Sequence[int]]) -> Links:
    return lambda nodes: [(node, other) for node in nodes for other in graph.get(node, ())]


#   1 -> 2 -> 4 -> 5,  1 -> 3 -> 5 -> 1
GRAPH = {1: [2, 3], 2: [4], 3: [5], 4: [5], 5: [1, 6]}


def test_everything_is_reached_once_nearest_first_by_a_shortest_path_though_there_is_a_cycle() -> None:
    found = walk([1], links_of(GRAPH))
    assert list(found.via) == [1, 2, 3, 4, 5, 6]
    assert found.path(6) == (1, 3, 5, 6), "and not by 2 and 4"
    assert found.path(1) == (1,), "a start is before itself"
    assert (found.ends, found.whole) == ((6,), True)


def test_of_several_starts_the_nearest_one_leads() -> None:
    found = walk([2, 3, 2], links_of(GRAPH))
    assert list(found.via)[:2] == [2, 3]
    assert found.path(5) == (3, 5)
    assert walk([], links_of(GRAPH)).via == {}


def test_a_bound_says_that_there_may_be_more() -> None:
    near = walk([1], links_of(GRAPH), levels_max=1)
    assert (list(near.via), near.whole, near.ends) == ([1, 2, 3], False, ())
    few = walk([1], links_of(GRAPH), nodes_max=3)
    assert (list(few.via), few.whole) == ([1, 2, 3], False)
    assert walk([1], links_of(GRAPH), levels_max=9, nodes_max=9).whole


def test_a_chain_of_a_hundred_thousand_links_is_followed_without_recursion() -> None:
    found = walk([0], lambda nodes: [(node, node + 1) for node in nodes if node < 100_000])
    assert len(found.path(100_000)) == 100_001
