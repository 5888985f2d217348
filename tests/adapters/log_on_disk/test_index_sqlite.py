"""What is true of the SQLite index alone: digests are looked up by their first digits, and told apart by all of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from keyturn.adapters.log_on_disk import index_sqlite
from keyturn.adapters.log_on_disk.batch import Batch
from keyturn.adapters.log_on_disk.index_sqlite import IndexSqlite, rebuild
from keyturn.adapters.log_on_disk.pack import Tail
from keyturn.errors import Unavailable
from keyturn.formats import leaf
from keyturn.formats.digest import Sha256, sha256
from keyturn.formats.leaf import Leaf
from keyturn.tlog.frontier import Frontier

ALIKE = tuple(Sha256("0123456789abcdef" + digit * 48) for digit in "0a")
"""Digests whose first 16 digits are the same: an attacker can find such a pair."""


@pytest.fixture
def index(tmp_path: Path) -> Iterator[IndexSqlite]:
    with closing(IndexSqlite(tmp_path / "index.sqlite")) as index:
        leaves = tuple(leaf.render(Leaf(kind="prv", record=digest, envelope=digest)) for digest in ALIKE)
        batch = Batch(0, b"", leaves, (), (), ((36, 5), (45, 6)), 100, b"")
        index.add([(batch, Tail(Frontier.empty().extend(leaves), 0, 100))])
        yield index


def test_envelopes_whose_digests_begin_alike_are_two(index: IndexSqlite) -> None:
    assert index.indexes_of(ALIKE) == {ALIKE[0]: [0], ALIKE[1]: [1]}
    assert [index.place_of(digest) for digest in ALIKE] == [(0, 36, 5), (0, 45, 6)]


def test_an_envelope_that_only_begins_like_known_ones_is_unknown(index: IndexSqlite) -> None:
    stranger = Sha256(ALIKE[0][:63] + "1")
    assert index.indexes_of([stranger]) == {}
    assert index.place_of(stranger) is None


def test_records_that_begin_alike_are_found_by_the_prefix_that_they_share_and_told_apart_by_a_longer_one(
    index: IndexSqlite,
) -> None:
    assert [found.record for found in index.by_record(ALIKE[0][:8])] == list(ALIKE)
    assert [found.record for found in index.by_record(ALIKE[0][:16])] == list(ALIKE)
    assert [found.record for found in index.by_record(ALIKE[1][:17])] == [ALIKE[1]]
    assert [found.record for found in index.by_record(ALIKE[0], "prv")] == [ALIKE[0]]


def batches_of_three(count: int) -> list[tuple[Batch, Tail]]:
    made, frontier, offset = [], Frontier.empty(), 0
    for first in range(0, count, 3):
        leaves = tuple(
            leaf.render(
                Leaf(kind="prv", record=sha256(b"r%d" % n), envelope=sha256(b"e%d" % n), about=("gate:a", f"n:{n}"))
            )
            for n in range(first, first + 3)
        )
        frontier, offset = frontier.extend(leaves), offset + 100
        batch = Batch(first, b"", leaves, (), frontier.nodes, ((36, 1), (41, 1), (46, 1)), 100, b"")
        made.append((batch, Tail(frontier, 0, offset)))
    return made


def test_a_record_is_found_in_whichever_run_its_keys_are_and_as_in_an_index_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_sqlite, "_KEY_ENTRIES_MAX", (6, 12, 24))
    batches = batches_of_three(57)
    rebuild(tmp_path / "again.sqlite", batches)
    with (
        closing(IndexSqlite(tmp_path / "index.sqlite")) as grown,
        closing(IndexSqlite(tmp_path / "again.sqlite")) as again,
        closing(sqlite3.connect(tmp_path / "index.sqlite")) as db,
    ):
        for batch in batches:
            grown.add([batch])
        runs = [db.execute(f"SELECT count(*) FROM key_{level}").fetchone()[0] for level in range(4)]  # noqa: S608
        assert sum(runs) == 57 * 4
        assert min(runs[0], runs[3]) > 0
        for index in (grown, again):
            assert index.indexes_of([sha256(b"e%d" % n) for n in range(60)]) == {
                sha256(b"e%d" % n): [n] for n in range(57)
            }
            assert [found.index for found in index.about("gate:a")] == list(range(57))
            for n in range(57):
                assert [found.index for found in index.by_record(sha256(b"r%d" % n))] == [n]
                assert [found.index for found in index.about(f"n:{n}")] == [n]


def test_an_index_that_another_version_made_is_refused_with_what_helps(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "index.sqlite")) as db:
        db.execute("CREATE TABLE entry(idx INTEGER PRIMARY KEY)")
    with pytest.raises(Unavailable, match="index-unreadable") as refused:
        IndexSqlite(tmp_path / "index.sqlite")
    assert refused.value.hint == "keyturn log reindex"
