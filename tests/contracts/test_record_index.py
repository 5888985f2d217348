"""What every adapter of the index promises: `ports.RecordIndex`. And what is refused of an index that lies."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from keyturn.adapters.log_in_memory import LogInMemory
from keyturn.adapters.log_on_disk.index_sqlite import IndexSqlite
from keyturn.adapters.log_on_disk.log import LogOnDisk
from keyturn.adapters.over_http.index_over_http import IndexOverHttp
from keyturn.adapters.postgres.index import IndexInPostgres
from keyturn.adapters.postgres.log import LogInPostgres
from keyturn.app.records.find_record import find_record, held_against
from keyturn.errors import Malformed, Refused, Tampered, Usage
from keyturn.formats import records
from keyturn.formats.records import leaf_of
from keyturn.ports import RecordIndex
from support.labs import NOW, make_lab
from support.log_records import make_records
from support.lying_log import serving_lies
from support.serving_log import serving
from support.signed_records import authorization, request

LAB = make_lab(now=NOW)
CHECKINS = make_records(1005)
REQUEST = request(LAB, 1, at=NOW)
APPROVAL, DENIAL = (authorization(LAB, n, at=NOW, member="bob", deny=n == 2) for n in (1, 2))
ALL = [*CHECKINS[:5], REQUEST, APPROVAL, *CHECKINS[5:], DENIAL]
REQUEST_RECORD = leaf_of(REQUEST).record
GATE = "gate:keyturn://acme.example/gate/release"


@pytest.fixture(scope="module", params=["in memory", "sqlite", "over HTTP", "in PostgreSQL"])
def index(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RecordIndex]:
    if request.param == "in memory":
        memory = LogInMemory()
        for record in ALL:
            memory.append(record)
        yield memory
        return
    place: Path = tmp_path_factory.mktemp("index")
    if request.param == "in PostgreSQL":
        store = request.getfixturevalue("cluster").store()
        with closing(store.connections()) as connections, LogInPostgres(connections) as log:
            log.append_leaves([(record, leaf_of(record)) for record in ALL])
            yield IndexInPostgres(connections)
        return
    with ExitStack() as stack:
        sqlite = stack.enter_context(closing(IndexSqlite(place / "index.sqlite")))
        disk = stack.enter_context(LogOnDisk(place / "log", sqlite))
        for record in ALL:
            disk.append(record)
        disk.settle()
        yield sqlite if request.param == "sqlite" else IndexOverHttp(stack.enter_context(serving(disk, sqlite)))


def test_a_record_is_found_by_any_prefix_and_kind(index: RecordIndex) -> None:
    leaf = leaf_of(REQUEST)
    for length in (8, 12, 63, 64):
        (found,) = index.by_record(leaf.record[:length])
        assert (found.index, found.kind, found.record, found.envelope) == (5, "req", leaf.record, leaf.envelope)
        assert found.until == leaf.until
    assert tuple(index.by_record(leaf.record, "req")) == (found,)
    assert list(index.by_record(leaf.record, "apr")) == []
    assert list(index.by_record("0" * 64)) == []


def test_records_are_found_by_prefixes_of_any_length_and_by_no_other_text(index: RecordIndex) -> None:
    digests = [leaf_of(record).record for record in ALL]
    for prefix in ("", "a", "ab", REQUEST_RECORD[:5]):
        wanted = [number for number, digest in enumerate(digests) if digest.startswith(prefix)][:1000]
        assert [one.index for one in index.by_record(prefix)] == wanted
        assert [one.index for one in index.by_record(prefix, "req")] == [n for n in wanted if n == 5]
    envelopes = [leaf_of(record).envelope for record in ALL]
    assert [one.envelope for one in index.by_record("")] == envelopes[:1000]


def test_records_are_found_by_what_they_are_about_in_log_order(index: RecordIndex) -> None:
    assert [one.index for one in index.about(GATE)][:8] == [0, 1, 2, 3, 4, 5, 7, 8]
    (tag,) = [tag for tag in leaf_of(APPROVAL).about if tag.startswith("request:")]
    assert [one.kind for one in index.about(tag)] == ["apr", "den"]
    assert list(index.about("gate:nowhere")) == []
    assert list(index.about("odd: &tag=?#%ü")) == []


def test_records_of_kinds_are_read_on_from_an_index(index: RecordIndex) -> None:
    assert [one.index for one in index.of_kinds(("req", "apr", "den"))] == [5, 6, 1007]
    assert [one.index for one in index.of_kinds(("req", "apr"), start=6)] == [6]
    assert list(index.of_kinds(("rot",))) == []


def test_an_answer_has_at_most_a_thousand_records_and_the_next_one_goes_on(index: RecordIndex) -> None:
    first = list(index.of_kinds(("chk",)))
    rest = list(index.of_kinds(("chk",), start=first[-1].index + 1))
    assert (len(first), len(rest)) == (1000, 5)
    assert (len(index.about(GATE)), len(index.by_record(""))) == (1000, 1000)


def test_a_record_is_found_by_its_id(index: RecordIndex) -> None:
    id_ = records.parse(REQUEST).id
    for text in (id_, id_[:12]):
        assert find_record(index, text).index == 5
    with pytest.raises(Refused, match="record-not-found"):
        find_record(index, id_.replace("req", "apr"))
    with pytest.raises(Usage, match="record-id"):
        find_record(index, "req-xyz")
    held_against(find_record(index, id_), leaf_of(REQUEST))
    with pytest.raises(Tampered, match="index-lies"):
        held_against(find_record(index, id_), leaf_of(APPROVAL))


# --- an index that lies --------------------------------------------------------------------------------------------------

HONEST = {"index": 5, "kind": "req", "record": "ab" * 32, "envelope": "cd" * 32, "until": None}


def by_record(index: IndexOverHttp) -> Any:
    return index.by_record("ab" * 8, "req")


@pytest.mark.parametrize(
    ("answer", "ask"),
    [
        pytest.param(b"", by_record, id="nothing"),
        pytest.param(b"[" * 200_000, by_record, id="nested without end"),
        pytest.param(b"\xff\xfe", by_record, id="no UTF-8"),
        pytest.param({"records": []}, by_record, id="no list"),
        pytest.param([{**HONEST, "index": -1}], by_record, id="an index below zero"),
        pytest.param([{**HONEST, "index": 2**63}], by_record, id="an index that no log has"),
        pytest.param([{**HONEST, "index": True}], by_record, id="an index that is no number"),
        pytest.param([{**HONEST, "kind": "xxx"}], by_record, id="a kind that is none"),
        pytest.param([{**HONEST, "envelope": "../../keys/log"}], by_record, id="a digest that is a path"),
        pytest.param([{**HONEST, "more": 1}], by_record, id="a field more"),
        pytest.param([{**HONEST, "record": "ef" * 32}], by_record, id="another record than was asked for"),
        pytest.param([{**HONEST, "kind": "apr"}], by_record, id="another kind than was asked for"),
        pytest.param([HONEST, HONEST], by_record, id="one record twice"),
        pytest.param([{**HONEST, "index": n} for n in (6, 5)], by_record, id="not in log order"),
        pytest.param([{**HONEST, "index": n} for n in range(1001)], by_record, id="more than a thousand"),
        pytest.param([HONEST], lambda index: index.of_kinds(("apr",)), id="kinds that were not asked for"),
        pytest.param([HONEST], lambda index: index.of_kinds(("req",), start=6), id="from before the start"),
    ],
)
def test_an_answer_that_is_none_is_malformed(answer: Any, ask: Callable[[IndexOverHttp], Any]) -> None:
    raw = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    with serving_lies("http://127.0.0.1:1", lambda *_: raw) as url, pytest.raises(Malformed, match="index-answer"):
        ask(IndexOverHttp(url))


def test_an_answer_without_end_is_not_read_to_its_end() -> None:
    with (
        serving_lies("http://127.0.0.1:1", lambda *_: b"[" + b" " * (2 << 20) + b"]") as url,
        pytest.raises(Malformed, match="answer-too-large"),
    ):
        by_record(IndexOverHttp(url))


@pytest.mark.parametrize("prefix", ["XYZ", "a" * 65, "AB" * 4, "%", "'; DROP TABLE entry"])
def test_the_service_refuses_questions_that_are_none(prefix: str, tmp_path: Path) -> None:
    with (
        closing(IndexSqlite(tmp_path / "index.sqlite")) as sqlite,
        LogOnDisk(tmp_path / "log", sqlite) as disk,
        serving(disk, sqlite) as url,
    ):
        index = IndexOverHttp(url)
        with pytest.raises(Malformed, match="record-prefix"):
            index.by_record(prefix)
        with pytest.raises(Malformed, match="record-kind"):
            index.of_kinds(("req", "xyz"))  # type: ignore[arg-type]
        with pytest.raises(Malformed, match="record-start"):
            index.of_kinds(("req",), start=-1)
