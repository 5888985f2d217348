"""What every log adapter promises: `ports.LogReader`, `ports.LogWriter`, `ports.LogKeeper`."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from keyturn.adapters.log_entry import ENVELOPE_BYTES_MAX
from keyturn.adapters.log_in_memory import LogInMemory
from keyturn.adapters.log_on_disk.index_sqlite import IndexSqlite
from keyturn.adapters.log_on_disk.log import LogOnDisk
from keyturn.adapters.postgres import batches
from keyturn.adapters.postgres.log import LogInPostgres
from keyturn.errors import Conflict, KeyturnError, Malformed, Refused, Tampered, Unavailable
from keyturn.formats import checkpoint as checkpoints
from keyturn.formats import leaf as leaf_format
from keyturn.formats.checkpoint import Checkpoint
from keyturn.formats.digest import sha256
from keyturn.formats.records import leaf_of
from keyturn.tlog import merkle
from keyturn.tlog.frontier import Frontier
from support.chains import changed
from support.log_records import make_record, make_records

Log = tuple[Any, Any, Any]


def note_of(size: int, root: bytes, origin: str = "log.acme.example") -> bytes:
    body = checkpoints.render_body(Checkpoint(origin, size, root))
    return body + b"\n" + f"— {origin} AAAAAAAA\n".encode()


def publish(keeper: Any) -> Frontier:
    frontier: Frontier = keeper.settle()
    keeper.swap("checkpoint", keeper.note("checkpoint"), note_of(frontier.size, frontier.root))
    return frontier


def append_all(keeper: Any, records: list[bytes]) -> None:
    size = keeper.settle().size
    assert [keeper.append(record) for record in records] == list(range(size, size + len(records)))


def test_records_get_consecutive_indexes_and_the_same_record_keeps_its_own(log: Log) -> None:
    _, writer, _ = log
    records = make_records(5)
    assert [writer.append(record) for record in records] == [0, 1, 2, 3, 4]
    assert [writer.append(record) for record in reversed(records)] == [4, 3, 2, 1, 0]


def test_what_was_appended_is_read_back(log: Log) -> None:
    keeper, _, reader = log
    records = make_records(300)
    append_all(keeper, records)
    frontier = publish(keeper)
    assert reader.checkpoint() == keeper.note("checkpoint")
    leaves = reader.leaves(0, 300)
    assert list(leaves) == [leaf_format.render(leaf_of(record)) for record in records]
    assert Frontier.empty().extend(leaves) == frontier
    assert list(reader.leaves(250, 260)) == list(leaves[250:260])
    assert list(reader.leaves(7, 7)) == []
    assert [reader.envelope(sha256(record)) for record in records[::50]] == records[::50]


def test_hashes_make_the_root_and_proofs(log: Log) -> None:
    keeper, _, reader = log
    append_all(keeper, make_records(270))
    frontier = publish(keeper)
    assert merkle.root_at(270, reader.hashes) == frontier.root
    assert list(reader.hashes(8, 0, 1)) == [merkle.root_at(256, reader.hashes)]
    (leaf,) = reader.leaves(261, 262)
    proof = merkle.inclusion_proof(261, 270, reader.hashes)
    merkle.verify_inclusion(merkle.leaf_hash(leaf), index=261, size=270, proof=proof, root=frontier.root)


def test_a_log_that_grows_stays_readable_at_every_size(log: Log) -> None:
    keeper, _, reader = log
    records = make_records(530)
    done = 0
    for size in (1, 2, 255, 256, 257, 511, 512, 530):
        append_all(keeper, records[done:size])
        done = size
        frontier = publish(keeper)
        reader.checkpoint()
        assert len(reader.leaves(0, size)) == size
        assert merkle.root_at(size, reader.hashes) == frontier.root


@pytest.mark.parametrize(("start", "end"), [(0, 6), (5, 6), (-1, 2), (3, 2)])
def test_leaves_that_are_not_there_are_unavailable(log: Log, start: int, end: int) -> None:
    keeper, writer, reader = log
    for record in make_records(5):
        writer.append(record)
    publish(keeper)
    reader.checkpoint()
    with pytest.raises(Unavailable):
        reader.leaves(start, end)


@pytest.mark.parametrize(
    ("level", "start", "end"), [(0, 0, 6), (1, 0, 3), (3, 0, 1), (0, -1, 1), (60, 0, 1), (-1, 0, 1)]
)
def test_subtrees_that_are_not_complete_are_unavailable(log: Log, level: int, start: int, end: int) -> None:
    keeper, writer, reader = log
    for record in make_records(5):
        writer.append(record)
    publish(keeper)
    reader.checkpoint()
    with pytest.raises(Unavailable):
        reader.hashes(level, start, end)


def test_an_unknown_envelope_and_a_missing_checkpoint_are_unavailable(log: Log) -> None:
    _, _, reader = log
    with pytest.raises(Unavailable):
        reader.envelope(sha256(b"nothing"))
    with pytest.raises(Unavailable):
        reader.checkpoint()


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"{}", id="an empty object"),
        pytest.param(make_record(1)[:-1], id="a truncated record"),
        pytest.param(make_record(1) + b" ", id="a record and a space"),
        pytest.param(b"[" * 100_000, id="deep nesting"),
        pytest.param(b'{"payload":"' + b"A" * (1 << 20), id="more than a record may have"),
    ],
)
def test_what_is_no_record_is_refused_and_nothing_is_written(log: Log, raw: bytes) -> None:
    keeper, writer, _ = log
    with pytest.raises(KeyturnError):
        writer.append(raw)
    assert keeper.settle().size == 0


def test_threads_get_distinct_indexes(log: Log) -> None:
    keeper, writer, reader = log
    found: list[int] = []

    def append(start: int) -> None:
        found.extend(writer.append(record) for record in make_records(10, start=start))

    threads = [threading.Thread(target=append, args=(100 * k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(80))
    frontier = publish(keeper)
    reader.checkpoint()
    assert Frontier.empty().extend(reader.leaves(0, 80)) == frontier


@pytest.fixture(params=["in memory", "on disk", "in PostgreSQL"])
def keeper(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "in memory":
        yield LogInMemory()
        return
    if request.param == "in PostgreSQL":
        with (
            closing(request.getfixturevalue("store").connections()) as connections,
            LogInPostgres(connections) as log,
        ):
            yield log
        return
    index = IndexSqlite(tmp_path / "index.sqlite")
    with LogOnDisk(tmp_path / "log", index) as log:
        yield log
    index.close()


def test_an_envelope_that_is_too_large_for_an_entry_is_refused(keeper: Any) -> None:
    with pytest.raises(Malformed, match="record-too-large"):
        keeper.append_leaf(bytes(ENVELOPE_BYTES_MAX + 1), leaf_of(make_record(1)))
    assert keeper.settle().size == 0


def test_a_checkpoint_is_replaced_by_compare_and_swap(keeper: Any) -> None:
    first, second = note_of(1, bytes(32)), note_of(2, bytes(32))
    keeper.swap("signed", None, first)
    with pytest.raises(Conflict):
        keeper.swap("signed", None, second)
    keeper.swap("signed", first, second)
    assert keeper.note("signed") == second
    assert keeper.note("checkpoint") is None


def test_of_many_who_replace_one_checkpoint_one_does(keeper: Any) -> None:
    old = None
    for size in range(1, 8):
        notes = [note_of(size, bytes([number]) * 32) for number in range(8)]

        def swapped(note: bytes, old: bytes | None = old) -> bool:
            try:
                keeper.swap("signed", old, note)
            except Conflict:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            won = [note for note, first in zip(notes, pool.map(swapped, notes), strict=True) if first]
        assert [keeper.note("signed")] == won
        old = won[0]


@pytest.mark.parametrize(
    ("new", "code"),
    [
        pytest.param(note_of(4, bytes(32)), "checkpoint-goes-back", id="fewer entries"),
        pytest.param(note_of(5, b"1" * 32), "checkpoint-fork", id="another tree of the same size"),
        pytest.param(note_of(6, bytes(32), "log.other.example"), "checkpoint-origin", id="another log's"),
    ],
)
def test_a_checkpoint_never_goes_back(keeper: Any, new: bytes, code: str) -> None:
    old = note_of(5, bytes(32))
    keeper.swap("signed", None, old)
    with pytest.raises(Tampered, match=code):
        keeper.swap("signed", old, new)
    with pytest.raises(Malformed):
        keeper.swap("signed", old, b"no note")
    assert keeper.note("signed") == old


def test_a_log_behind_its_witnesses_takes_nothing(keeper: Any) -> None:
    for record in make_records(3):
        keeper.append(record)
    keeper.settle()
    keeper.confirm(2, merkle.root_at(2, keeper.hashes))
    with pytest.raises(Refused, match="log-behind-witnesses"):
        keeper.confirm(4, bytes(32))
    with pytest.raises(Refused, match="log-behind-witnesses"):
        keeper.append(make_record(9))


def test_a_log_of_which_witnesses_know_another_tree_takes_nothing(keeper: Any) -> None:
    for record in make_records(3):
        keeper.append(record)
    with pytest.raises(Tampered, match="log-fork"):
        keeper.confirm(2, bytes(32))
    with pytest.raises(Tampered, match="log-fork"):
        keeper.append(make_record(9))


@pytest.mark.parametrize("first", [True, False], ids=["before the record", "after the record"])
def test_a_leaf_that_lies_about_a_record_keeps_it_neither_out_of_the_log_nor_from_being_read(
    log: Log, first: bool
) -> None:
    keeper, writer, reader = log
    record, other = make_records(2)
    true = leaf_of(record)
    lie = changed(true, about=("gate:another",))
    if not first:
        assert writer.append(record) == 0
    at = keeper.append_leaf(record, lie)
    assert at == (0 if first else 1)
    own = writer.append(record)
    assert own == (1 if first else 0)
    assert [writer.append(one) for one in (record, other, record)] == [own, 2, own]
    keeper.settle()
    publish(keeper)
    assert list(reader.leaves(own, own + 1)) == [leaf_format.render(true)]
    assert reader.envelope(sha256(record)) == record


def test_an_envelope_that_is_not_its_leafs_does_not_hide_the_one_that_is(log: Log) -> None:
    keeper, writer, reader = log
    record = make_record(1)
    if isinstance(keeper, LogInPostgres):  # whose database keeps no envelope under another digest than its own
        with keeper._connections.borrowed() as db:
            batches.insert(db, 0, [text := leaf_format.render(leaf_of(record))], Frontier.empty().extend([text]))
    else:
        assert keeper.append_leaf(b"gone", leaf_of(record)) == 0
    publish(keeper)
    with pytest.raises(Unavailable):
        reader.envelope(sha256(record))
    assert [writer.append(record), writer.append(record)] == [1, 1]
    publish(keeper)
    assert reader.envelope(sha256(record)) == record


def test_an_erased_envelope_is_gone_and_tree_leaves_and_all_else_stay(eraser: tuple[Any, Any]) -> None:
    keeper, erase = eraser
    records = make_records(5)
    append_all(keeper, records)
    before, leaves = keeper.settle(), list(keeper.leaves(0, 5))
    gone = [sha256(records[1]), sha256(records[3]), sha256(b"never there")]
    assert (erase(gone), erase(gone)) == (2, 0)
    for n, record in enumerate(records):
        if n in (1, 3):
            with pytest.raises(Unavailable):
                keeper.envelope(sha256(record))
        else:
            assert keeper.envelope(sha256(record)) == record
    assert (keeper.settle(), list(keeper.leaves(0, 5))) == (before, leaves)
    append_all(keeper, make_records(7)[5:])
