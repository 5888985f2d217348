"""What can stand in a log's files that no honest writer puts there: it is read as what it is, or named, and stops nobody."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from keyturn.adapters.group_commit import Waiting
from keyturn.adapters.log_on_disk.index_sqlite import IndexSqlite
from keyturn.adapters.log_on_disk.log import LogOnDisk
from keyturn.adapters.log_on_disk.pack import verify_packs
from keyturn.adapters.log_on_disk.reader import LogOnDiskReader
from keyturn.adapters.over_http.log_over_http import LogOverHttp
from keyturn.errors import Tampered, Unavailable
from keyturn.formats import checkpoint as checkpoints
from keyturn.formats.checkpoint import Checkpoint
from keyturn.formats.tile import TilePath
from support.log_records import make_records
from support.serving_log import serving

LARGEST = b"x" * 65535


@pytest.fixture
def index(tmp_path: Path) -> Iterator[IndexSqlite]:
    with closing(IndexSqlite(tmp_path / "index.sqlite")) as index:
        yield index


def write_texts(log: LogOnDisk, *texts: bytes) -> None:
    """What whoever has the disk appends: any text in the place of a leaf."""
    log._group.submit_all([Waiting(b"of no record", os.urandom(32).hex(), text) for text in texts])


def publish(log: LogOnDisk) -> None:
    tree = log.settle()
    body = checkpoints.render_body(Checkpoint("log.acme.example", tree.size, tree.root))
    log.swap("checkpoint", log.note("checkpoint"), body + b"\n\xe2\x80\x94 log.acme.example AAAAAAAA\n")


def test_a_bundle_of_the_largest_texts_that_a_log_can_hold_is_read_from_afar(
    tmp_path: Path, index: IndexSqlite
) -> None:
    texts = [LARGEST] * 255 + [b""]
    with LogOnDisk(tmp_path / "log", index) as log, serving(log, index) as url:
        for start in range(0, 256, 32):
            write_texts(log, *texts[start : start + 32])
        log.append_leaves([])
        publish(log)
        assert list(LogOverHttp(url).leaves(0, 256)) == texts


def test_a_text_that_is_no_leaf_is_named_by_whoever_verifies_the_packs_unless_it_is_known(
    tmp_path: Path, index: IndexSqlite
) -> None:
    with LogOnDisk(tmp_path / "log", index) as log:
        log.append(make_records(1)[0])
        write_texts(log, b"no leaf")
    with pytest.raises(Tampered, match="log-leaf"):
        verify_packs(tmp_path / "log", size_min=0)
    assert verify_packs(tmp_path / "log", size_min=0, faults=(range(1, 2),)) == 2


@pytest.mark.parametrize("name", ["tile/entries/000.p/9", "tile/0/000.p/9", "derived", "checkpoint"])
def test_a_directory_in_the_place_of_a_file_is_an_error_of_ours(tmp_path: Path, index: IndexSqlite, name: str) -> None:
    with LogOnDisk(tmp_path / "log", index) as log:
        log.append_leaves([])
        for record in make_records(9):
            log.append(record)
        publish(log)
    place = tmp_path / "log" / name
    place.unlink()
    place.mkdir()
    reader = LogOnDiskReader(tmp_path / "log", index)
    read = {
        "tile/entries/000.p/9": lambda: reader.leaves(0, 9),
        "tile/0/000.p/9": lambda: reader.tile(TilePath(0, 0, 9)),
        "derived": lambda: reader.leaves(0, 9),
        "checkpoint": reader.checkpoint,
    }
    with pytest.raises(Unavailable):
        read[name]()


def test_a_damaged_full_bundle_from_which_a_partial_one_is_cut_is_an_error_of_ours(
    tmp_path: Path, index: IndexSqlite
) -> None:
    with LogOnDisk(tmp_path / "log", index) as log:
        for record in make_records(256):
            log.append(record)
        log.settle()
        (tmp_path / "log" / "tile" / "entries" / "000").write_bytes(b"\xff")
        with pytest.raises(Unavailable, match="log-tile"):
            log.tile(TilePath(None, 0, 7))
