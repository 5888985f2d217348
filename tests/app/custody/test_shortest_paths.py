"""What a bad thing leads to, said when it is asked for: the same of one model, of some, and of all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from keyturn.adapters.files.lineage_graph import LineageGraphFile
from keyturn.app.custody.shortest_paths import AffectedModels, Hop, Makers, Paths
from keyturn.custody.descent import walk
from keyturn.custody.linked import Linked
from keyturn.formats.digest import sha256
from keyturn.tlog.frontier import Frontier

ENVELOPE = sha256(b"")
BAD, DATA, ONE, TWO, LATE, REPORT = (
    f"dirHash:{sha256(name)}" for name in (b"bad", b"data", b"1", b"2", b"late", b"report")
)
REQUEST = f"record:{sha256(b'request')}"


def step(index: int, build: str, takes: tuple[str, ...], gives: tuple[str, ...]) -> Linked:
    return Linked(index, "prv", "builder", 0, build, takes=tuple((name, True) for name in takes), gives=gives)


@pytest.fixture
def graph(tmp_path: Path) -> Iterator[LineageGraphFile]:
    made = [
        Linked(1, "stp", "ada", 0, "train", gives=(REQUEST,)),
        step(2, "ingest", (BAD,), (DATA, LATE)),
        step(3, "train", (DATA, REQUEST), (ONE,)),
        step(4, "finetune", (ONE,), (TWO, BAD)),  # a cycle
        step(5, "ingest", (BAD,), (TWO,)),  # the shortest way to the second model is no training
        step(6, "train", (), (LATE,)),  # and what made the third one a model was not reached
        step(7, "evaluate", (ONE,), (REPORT,)),
        step(8, "merge", (TWO, ONE), (ONE,)),
    ]
    with closing(LineageGraphFile(tmp_path / "graph.sqlite")) as opened:
        with opened.growing():
            opened.add([(one, ENVELOPE) for one in made], failures=(), unread=())
            opened.add_read(Frontier.empty(), ())
        yield opened


def models_after(graph: LineageGraphFile, *starts: int) -> AffectedModels:
    found = walk(starts, lambda level: graph.links(level, back=False, chain=False))
    makers = Makers(graph.made_by([node for node, before in found.via.items() if node < 0 and node != before]))
    return AffectedModels(makers.models(), Paths(graph, found, makers))


def said(path: tuple[Hop, ...]) -> list[str | int | None]:
    return [one.artifact or one.index for one in path]


def test_models_are_what_a_step_made_that_makes_models_with_every_such_step_and_a_shortest_path(
    graph: LineageGraphFile,
) -> None:
    bad = graph.node(BAD)
    assert bad is not None
    models = models_after(graph, bad)
    found = {one.artifact: (one.made_at, one.build, said(one.path)) for one in models}
    assert found == {
        LATE: ((6,), "train", [BAD, 2, LATE]),
        TWO: ((4,), "finetune", [BAD, 5, TWO]),
        ONE: ((3, 8), "train", [BAD, 2, DATA, 3, ONE]),
    }, "neither data nor a report is a model, and what was asked about is not listed"
    assert models[0].path[1] == Hop(index=2, kind="prv", label="ingest")
    assert len(models) == 3
    assert [one.path[-1].artifact for one in models] == [one.artifact for one in models], "a path ends at its model"


def test_some_of_them_are_those_at_their_places(graph: LineageGraphFile) -> None:
    bad = graph.node(BAD)
    assert bad is not None
    models = models_after(graph, bad)
    listed = list(models)
    assert [models[number] for number in range(3)] == listed
    assert models[-1] == listed[-1]
    assert list(models[:2]) == listed[:2]
    assert list(models[2:][5:]) == []
    with pytest.raises(IndexError):
        models[3]


def test_a_path_from_a_statement_begins_with_it_and_names_that_only_link_are_left_out(graph: LineageGraphFile) -> None:
    by_request = models_after(graph, 1)
    assert said(by_request[0].path) == [1, 3, ONE], "and the request's name is not on it"
    assert by_request[0].path[0] == Hop(index=1, kind="stp", label="train")
    assert said(models_after(graph, 3)[0].path) == [3, ONE], "what was signed with a stolen key is a start of its own"
    found = walk([3], lambda level: graph.links(level, back=False, chain=False))
    paths = Paths(graph, found, Makers(()))
    assert [said(path) for path in paths.to([3])] == [[3]], "a start is a path of itself"
    assert len(models_after(graph, 7)) == 0
