"""What is true of the SQLite index alone: digests are looked up by their first digits, and told apart by all of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from keyturn.adapters.index_sqlite import IndexSqlite
from keyturn.adapters.log_on_disk.batch import Batch
from keyturn.adapters.log_on_disk.pack import Tail
from keyturn.formats import leaf
from keyturn.formats.digest import Sha256
from keyturn.formats.leaf import Leaf
from keyturn.tlog.frontier import Frontier

ALIKE = tuple(Sha256("0123456789abcdef" + digit * 48) for digit in "0a")
"""Digests whose first 16 digits are the same: an attacker can find such a pair."""


@pytest.fixture
def index(tmp_path: Path) -> Iterator[IndexSqlite]:
    with closing(IndexSqlite(tmp_path / "index.sqlite")) as index:
        leaves = tuple(leaf.render(Leaf(kind="prv", record=digest, envelope=digest)) for digest in ALIKE)
        batch = Batch(0, (b"first", b"second"), leaves, (), ((36, 5), (45, 6)), 100)
        index.add([(batch, Tail(Frontier.empty().extend(leaves), 0, 100))])
        yield index


def test_envelopes_whose_digests_begin_alike_are_two(index: IndexSqlite) -> None:
    assert index.indexes_of(ALIKE) == {ALIKE[0]: 0, ALIKE[1]: 1}
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
