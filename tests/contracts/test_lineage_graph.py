"""What every adapter of the graph of statements promises: `ports.LineageGraph`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from keyturn.adapters.files.lineage_graph import LineageGraphFile
from keyturn.custody.evidence import Failure
from keyturn.custody.linked import Linked
from keyturn.errors import Unavailable
from keyturn.formats.digest import sha256
from keyturn.ports import LineageGraph, StatementNode, Unread
from keyturn.tlog.frontier import Frontier

DATA, MODEL, CODE, PACKED, REQUEST, UNSAID = (
    f"{kind}:{sha256(name.encode())}"
    for kind, name in (
        ("dirHash", "data"),
        ("sha256", "model"),
        ("dirHash", "code"),
        ("dirHash", "packed"),
        ("record", "request"),
        ("dirHash", "unsaid"),
    )
)
RELEASED = f"released:{'b' * 64}/keyturn://acme.example/model/ä/{PACKED}"

STATEMENTS = (
    Linked(2, "stp", "ada", 100, "train", gives=(REQUEST,)),
    Linked(3, "prv", "builder", 110, "train", takes=((DATA, True), (CODE, False), (REQUEST, False)), gives=(MODEL,)),
    Linked(5, "prv", "builder", 120, "package", takes=((MODEL, True),), gives=(PACKED,), passes=((MODEL, RELEASED),)),
    Linked(6, "crt", "ada", 130, "any", takes=((MODEL, False), (MODEL, True))),
    Linked(7, "rel", "gate", None, "keyturn://acme.example/model/ä", takes=((RELEASED, False),)),
    Linked(9, "dep", "ada", 190, ""),
)
ROWS = [(one, sha256(b"%d" % one.index)) for one in STATEMENTS]
FAILURES = (Failure(4, "signature-invalid", "no"), Failure(4, "builder-unknown", "who"), Failure(8, "a", "b"))
UNREAD = (Unread(1, "rev", sha256(b"gone")), Unread(8, "den", sha256(b"lost")))
TRUST = ((0, sha256(b"root")), (1, sha256(b"targets")))


def tree(size: int) -> Frontier:
    return Frontier.empty().extend([b"%d" % i for i in range(size)])


@pytest.fixture(params=["a file", "a file, read beside its writer"])
def graphs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[LineageGraph, LineageGraph]]:
    """(graph that is added to, graph that is asked)"""
    with ExitStack() as stack:
        first = stack.enter_context(closing(LineageGraphFile(tmp_path / "home" / "graph.sqlite")))
        if request.param == "a file":
            yield first, first
            return
        yield first, stack.enter_context(closing(LineageGraphFile(tmp_path / "home" / "graph.sqlite")))


def fill(graph: LineageGraph, portions: Sequence[int] = (10,)) -> None:
    """Add all of it, up to each of these sizes of the log at once."""
    start = 0
    for end in portions:
        within = range(start, end)
        with graph.growing():
            graph.add(
                [row for row in ROWS if row[0].index in within],
                failures=[one for one in FAILURES if one.index in within],
                unread=[one for one in UNREAD if one.index in within],
            )
            graph.add_read(tree(end), [one for one in TRUST if one[0] in within])
        start = end


def said(graph: LineageGraph) -> dict[str, object]:
    """Everything that a graph says, with nodes by their names."""
    names = {name: graph.node(name) for name in (DATA, MODEL, CODE, PACKED, REQUEST, RELEASED)}
    assert None not in names.values()
    nodes = [*range(10), *(node for node in names.values() if node is not None)]
    back = {node: name for name, node in names.items()}

    def of(node: int) -> object:
        return back.get(node, node)

    return {
        "tree": graph.frontier,
        "trust": tuple(graph.trust),
        "failures": tuple(graph.failures),
        "unread": tuple(graph.unread),
        "statements": tuple(graph.statements(nodes)),
        "links": {
            (back, chain): {(of(a), of(b)) for a, b in graph.links(nodes, back=back, chain=chain)}
            for back in (False, True)
            for chain in (False, True)
        },
    }


def test_a_new_graph_is_of_an_empty_log_and_says_nothing(graphs: tuple[LineageGraph, LineageGraph]) -> None:
    _, graph = graphs
    assert graph.frontier == Frontier.empty()
    assert (list(graph.trust), list(graph.failures), list(graph.unread)) == ([], [], [])
    assert graph.node(DATA) is None
    assert list(graph.statements([1, 2])) == []
    assert list(graph.links([1, -1], back=True, chain=False)) == []
    assert list(graph.signed_by("ada")) == []
    assert graph.logged_between("ada", 5, 10, now=20) == (0, None)


def test_the_same_log_makes_the_same_graph_in_whatever_portions(
    graphs: tuple[LineageGraph, LineageGraph], tmp_path: Path
) -> None:
    added, graph = graphs
    fill(added)
    whole = said(graph)
    assert whole["tree"] == tree(10)
    assert whole["trust"] == TRUST
    assert whole["failures"] == (FAILURES[1], FAILURES[0], FAILURES[2])
    assert whole["unread"] == UNREAD
    assert [one.index for one in whole["statements"]] == [2, 3, 5, 6, 7, 9]  # type: ignore[attr-defined]
    for number, portions in enumerate([range(1, 11), (3, 4, 6, 10), (9, 10)]):
        with closing(LineageGraphFile(tmp_path / f"{number}.sqlite")) as other:
            fill(other, tuple(portions))
            assert said(other) == whole


def test_links_lead_both_ways_and_those_of_chains_leave_code_and_requests_out(
    graphs: tuple[LineageGraph, LineageGraph],
) -> None:
    added, graph = graphs
    fill(added)
    links = said(graph)["links"]
    forward, chain = links[False, False], links[False, True]  # type: ignore[index]
    assert forward == {
        (2, REQUEST),
        (DATA, 3),
        (CODE, 3),
        (REQUEST, 3),
        (3, MODEL),
        (MODEL, 5),
        (MODEL, 6),
        (5, PACKED),
        (MODEL, RELEASED),
        (RELEASED, 7),
    }
    assert chain == {(DATA, 3), (3, MODEL), (MODEL, 5), (MODEL, 6), (5, PACKED)}
    assert links[True, False] == {(b, a) for a, b in forward}  # type: ignore[index]
    assert links[True, True] == {(b, a) for a, b in chain}  # type: ignore[index]


def test_answers_come_in_the_order_of_the_question_and_statements_in_that_of_the_log(
    graphs: tuple[LineageGraph, LineageGraph],
) -> None:
    added, graph = graphs
    fill(added)
    data, model, released = graph.node(DATA), graph.node(MODEL), graph.node(RELEASED)
    assert data is not None and model is not None and released is not None  # noqa: PT018  # for the types
    assert max(data, model, released) < 0, "names are negative, so that they are never statements"
    assert list(graph.names([model, data, released])) == [MODEL, DATA, RELEASED]
    assert graph.node(UNSAID) is None
    assert [one.index for one in graph.statements([7, 2, 2, 5, -1, 400])] == [2, 5, 7]
    assert list(graph.statements([2])) == [StatementNode(2, "stp", "ada", 100, "train")]
    assert list(graph.envelopes([9, 2, 7])) == [sha256(b"9"), sha256(b"2"), sha256(b"7")]
    assert [a for a, _ in graph.links([model, 3, data], back=False, chain=False)] == [model, model, model, 3, data]
    assert [one.index for one in graph.signed_by("ada")] == [2, 6, 9]
    many = [2, *range(1000, 14000), 3]
    assert [one.index for one in graph.statements(many)] == [2, 3]


def test_by_which_steps_a_thing_was_made_is_said_of_things_that_steps_made(
    graphs: tuple[LineageGraph, LineageGraph],
) -> None:
    added, graph = graphs
    fill(added)
    again = Linked(11, "prv", "other", 210, "finetune", takes=((DATA, True),), gives=(MODEL, PACKED))
    with added.growing():
        added.add([(again, sha256(b"again"))], failures=(), unread=())
        added.add_read(tree(12), ())
    nodes = [graph.node(name) for name in (PACKED, DATA, REQUEST, MODEL, RELEASED)]
    packed, *_, model, _ = nodes
    assert list(graph.made_by([node for node in nodes if node is not None])) == [
        (packed, 5, "package"),
        (packed, 11, "finetune"),
        (model, 3, "train"),
        (model, 11, "finetune"),
    ], "nothing made the data, a request is not made, and `released` is only linked"
    assert list(graph.made_by([])) == []


def test_what_was_not_added_to_its_end_is_not_there(graphs: tuple[LineageGraph, LineageGraph]) -> None:
    added, graph = graphs
    fill(added, (4,))
    before = graph.frontier

    def breaks_off() -> None:
        with added.growing():
            added.add(ROWS[2:], failures=FAILURES, unread=UNREAD[1:])
            added.add_read(tree(10), [(8, sha256(b"targets 2"))])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        breaks_off()
    assert (graph.frontier, len(graph.trust), list(graph.failures)) == (before, 2, [])
    assert graph.node(PACKED) is None
    assert list(graph.statements([5])) == []
    with added.growing():
        assert added.frontier == before
        added.add(ROWS[2:], failures=FAILURES, unread=UNREAD[1:])
        added.add_read(tree(10), [])
    assert said(graph)["tree"] == tree(10)


def test_who_adds_is_alone_and_sees_what_others_added_before(
    graphs: tuple[LineageGraph, LineageGraph], tmp_path: Path
) -> None:
    added, _ = graphs
    fill(added, (4,))
    with closing(LineageGraphFile(tmp_path / "home" / "graph.sqlite")) as other, other.growing():
        assert other.frontier == tree(4)
        assert added.frontier == tree(4), "readers do not wait"
        other.add(ROWS[2:], failures=(), unread=())
        other.add_read(tree(10), [])
        assert added.frontier == tree(4)
    assert added.frontier == tree(10)
    assert [one.index for one in added.statements(range(10))] == [2, 3, 5, 6, 7, 9]


@pytest.mark.parametrize(
    ("keyid", "since", "until", "now", "expected"),
    [
        pytest.param("builder", None, None, 1000, (0, None), id="at any time"),
        pytest.param("builder", 125, None, 1000, (3, None), id="since: after what another said before that"),
        pytest.param("builder", None, 105, 1000, (0, 6), id="until: before what another said after that"),
        pytest.param("builder", 125, 125, 1000, (3, 6), id="between"),
        pytest.param("ada", 115, None, 1000, (4, None), id="its own statements excuse nothing"),
        pytest.param("builder", 150, None, 1000, (7, None), id="statements without a time bound nothing"),
        pytest.param("builder", 150, None, 180, (10, None), id="nor do times that are to come"),
    ],
)
def test_when_a_key_signed_is_bounded_by_what_others_said(
    graphs: tuple[LineageGraph, LineageGraph],
    keyid: str,
    since: int | None,
    until: int | None,
    now: int,
    expected: tuple[int, int | None],
) -> None:
    added, graph = graphs
    fill(added)
    assert graph.logged_between(keyid, since, until, now=now) == expected


def test_a_graph_of_a_damaged_file_is_no_graph(tmp_path: Path) -> None:
    path = tmp_path / "graph.sqlite"
    with closing(LineageGraphFile(path)) as graph:
        fill(graph)
    path.write_bytes(path.read_bytes()[:512] + b"x" * 20000)
    with pytest.raises(Unavailable, match="lineage-unreadable"):
        said(LineageGraphFile(path))
