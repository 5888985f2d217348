"""The log in PostgreSQL: what is altered is found and named, what is restored never forks, and roles do no more than they may."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from keyturn.adapters.log_on_disk.index_sqlite import IndexSqlite
from keyturn.adapters.log_on_disk.log import LogOnDisk
from keyturn.adapters.postgres.connections import Connections
from keyturn.adapters.postgres.index import IndexInPostgres
from keyturn.adapters.postgres.log import LogInPostgres, reindex, verify_batches
from keyturn.adapters.postgres.place import StorePlace
from keyturn.adapters.postgres.reader import LogInPostgresReader
from keyturn.errors import Tampered, Unavailable
from keyturn.formats.digest import sha256
from keyturn.formats.records import leaf_of
from keyturn.formats.tile import TILE_WIDTH, TilePath, tile_width
from keyturn.tlog import merkle
from keyturn.tlog.frontier import Frontier
from support.batches_in_postgresql import RECORDS, publish
from support.log_records import make_record, make_records, note_of
from support.postgresql import Cluster, Store
from support.processes import wait_for

# --- what was altered ---------------------------------------------------------------------------------------------------

# Three batches: entries 0 to 2, 3 to 5 and 6 to 8.
ALTERED = {
    "a leaf": ("UPDATE log.batch SET leaves = set_byte(leaves, 40, 1) WHERE first = 3", "log-batch-altered"),
    "the digest": ("UPDATE log.batch SET sha256 = sha256(sha256) WHERE first = 3", "log-batch-altered"),
    "the tree": ("UPDATE log.batch SET frontier = set_byte(frontier, 0, 1) WHERE first = 3", "log-batch-altered"),
    "the tree, with a digest that fits": (
        """UPDATE log.batch SET frontier = set_byte(frontier, 0, get_byte(frontier, 0) # 1) WHERE first = 3;
        UPDATE log.batch SET sha256 = sha256(int8send(first) || int4send(count) || leaves || frontier)""",
        "log-batch-tree",
    ),
    "the number of its entries": (
        """UPDATE log.batch SET count = 2 WHERE first = 3;
        UPDATE log.batch SET sha256 = sha256(int8send(first) || int4send(count) || leaves || frontier)""",
        "log-batch",
    ),
    "a tree of another shape": (
        """UPDATE log.batch SET frontier = frontier || frontier WHERE first = 3;
        UPDATE log.batch SET sha256 = sha256(int8send(first) || int4send(count) || leaves || frontier)""",
        "log-batch-tree",
    ),
    "a batch taken away": ("DELETE FROM log.batch WHERE first = 3", "log-batch-order"),
}  # fmt: skip


@pytest.mark.parametrize("what", ALTERED)
def test_a_batch_that_was_altered_is_named_by_whoever_goes_through_all_of_them(
    store: Store, connections: Connections, three_batches: Frontier, what: str
) -> None:
    assert verify_batches(connections, size_min=9) == 9
    statement, code = ALTERED[what]
    store.alter(statement)
    for go_through in (lambda: verify_batches(connections, size_min=9), lambda: reindex(connections)):
        with pytest.raises(Tampered) as caught:
            go_through()
        assert caught.value.code == code


@pytest.mark.parametrize("what", [what for what in ALTERED if what != "a batch taken away"])
def test_a_newest_batch_that_was_altered_opens_no_log(
    store: Store, connections: Connections, three_batches: Frontier, what: str
) -> None:
    store.alter(ALTERED[what][0].replace("first = 3", "first = 6"))
    with pytest.raises(Tampered) as caught:
        LogInPostgres(connections)
    assert caught.value.code == ALTERED[what][1]


@pytest.mark.parametrize("what", ALTERED)
def test_what_another_process_appended_is_verified_before_anything_is_appended_or_signed_behind_it(
    store: Store, connections: Connections, what: str
) -> None:
    with closing(store.connections()) as others, LogInPostgres(connections) as log, LogInPostgres(others) as other:
        log.append_leaves([(record, leaf_of(record)) for record in RECORDS[:3]])
        for start in (3, 6):
            other.append_leaves([(record, leaf_of(record)) for record in RECORDS[start : start + 3]])
        store.alter(ALTERED[what][0])
        for act in (log.settle, lambda: log.append(make_record(99))):
            with pytest.raises(Tampered) as caught:
                act()
            assert caught.value.code == ALTERED[what][1]
        with store.admin() as db:
            assert db.execute("SELECT max(idx) FROM log.envelope").fetchone() == (8,)


def test_a_log_that_became_shorter_or_another_beside_a_running_process_takes_nothing(
    store: Store, connections: Connections, three_batches: Frontier
) -> None:
    with LogInPostgres(connections) as log:
        store.alter(
            "CREATE TABLE kept AS TABLE log.batch", "DELETE FROM log.batch WHERE first = 6",
        )  # fmt: skip
        for act in (log.settle, lambda: log.append(make_record(99))):
            with pytest.raises(Tampered, match="log-goes-back"):
                act()
        store.alter(
            """INSERT INTO log.batch SELECT first, count, leaves, set_byte(frontier, 0, get_byte(frontier, 0) # 1), sha256
            FROM kept WHERE first = 6"""
        )
        for act in (log.settle, lambda: log.append(make_record(99))):
            with pytest.raises(Tampered, match="log-fork"):
                act()


def test_a_log_that_is_not_what_its_notes_say_is_not_opened(
    store: Store, connections: Connections, three_batches: Frontier
) -> None:
    with LogInPostgres(connections) as log:
        log.swap("signed", None, note_of(Frontier.empty().extend([b"other"] * 5)))
    with pytest.raises(Tampered, match="checkpoint-fork"):
        LogInPostgres(connections)
    store.alter("DELETE FROM log.batch WHERE first >= 3")
    with pytest.raises(Tampered, match="log-goes-back"):
        LogInPostgres(connections)


def test_too_few_entries_for_the_checkpoint_are_named(connections: Connections, three_batches: Frontier) -> None:
    with pytest.raises(Tampered, match="log-behind-checkpoint"):
        verify_batches(connections, size_min=10)


def test_an_envelope_that_was_altered_is_not_given_out(
    store: Store, connections: Connections, three_batches: Frontier
) -> None:
    with store.admin() as db:
        with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
            db.execute("UPDATE log.envelope SET content = 'other'")
        db.execute("ALTER TABLE log.envelope DISABLE TRIGGER ALL")
        with pytest.raises(psycopg.errors.CheckViolation):
            db.execute("UPDATE log.envelope SET content = 'other'")
        db.execute("ALTER TABLE log.envelope DROP CONSTRAINT envelope_check")
        db.execute("UPDATE log.envelope SET content = 'other' WHERE idx = 4")
    with LogInPostgres(connections) as log:
        with pytest.raises(Unavailable, match="envelope-damaged"):
            log.envelope(sha256(RECORDS[4]))
        assert log.envelope(sha256(RECORDS[5])) == RECORDS[5]


def test_an_index_that_is_wrong_opens_no_log_and_is_made_again_to_the_same_rows(
    store: Store, connections: Connections
) -> None:
    records = make_records(600)
    with LogInPostgres(connections) as log:
        for start in range(0, 600, 50):
            log.append_leaves([(record, leaf_of(record)) for record in records[start : start + 50]])
    tables = {"entry": "idx", "tag": "tag, idx", "subtree": "level, idx"}

    def rows() -> dict[str, list[tuple[object, ...]]]:
        return {name: connections.read(f"SELECT * FROM index.{name} ORDER BY {by}") for name, by in tables.items()}

    before = rows()
    assert {name: len(found) for name, found in before.items()} == {"entry": 600, "tag": 600, "subtree": 2}
    with store.admin() as db:
        db.execute("UPDATE index.subtree SET hash = set_byte(hash, 0, get_byte(hash, 0) # 1) WHERE idx = 1")
        db.execute("DELETE FROM index.entry WHERE idx % 7 = 0")
        db.execute("INSERT INTO index.tag VALUES ('member:mallory', 5)")
    with pytest.raises(Tampered, match="log-batch-tree"):
        LogInPostgres(connections)
    assert reindex(connections) == 600
    assert rows() == before
    with LogInPostgres(connections) as log:
        assert log.size == 600


# --- connections --------------------------------------------------------------------------------------------------------


def test_connections_that_died_while_nobody_used_them_are_not_noticed_by_who_reads(
    store: Store, connections: Connections
) -> None:
    with connections.borrowed() as one, connections.borrowed() as two, connections.borrowed() as three:
        pids = [db.info.backend_pid for db in (one, two, three)]
    with store.admin() as admin:
        admin.execute("SELECT pg_terminate_backend(pid, 10000) FROM unnest(%s::integer[]) AS pid", (pids,))
    assert connections.read("SELECT 1") == [(1,)]


def test_a_standby_is_read_from_and_not_written_to(store: Store, cluster: Cluster, connections: Connections) -> None:
    with LogInPostgres(connections) as log:
        log.append_leaves([(record, leaf_of(record)) for record in RECORDS])
        publish(log)
    with cluster.standby() as port, closing(Connections(_any(store, port))) as others:
        reader = LogInPostgresReader(others)
        wait_for("the log at the standby", lambda: _size_at(others) == 9 or None)
        assert Frontier.empty().extend(reader.leaves(0, 9)).root == merkle.root_at(9, reader.hashes)
        assert reader.envelope(sha256(RECORDS[3])) == RECORDS[3]
        assert len(IndexInPostgres(others).of_kinds(("chk",))) == 9
        with pytest.raises(Unavailable, match="store-standby"):
            LogInPostgres(others)
        with (
            pytest.raises(Unavailable, match="store-unreachable"),
            closing(Connections(_any(store, port, ""))) as unasked,
        ):
            unasked.read("SELECT 1")


def test_many_readers_share_few_connections(connections: Connections) -> None:
    together = threading.Barrier(16)

    def read(_: int) -> int:
        with connections.borrowed() as db:
            together.wait(30)
            return int(db.info.backend_pid)

    with ThreadPoolExecutor(48) as pool:
        assert len(set(pool.map(read, range(48)))) == 16


def _any(store: Store, port: int, attributes: str = "&target_session_attrs=any") -> StorePlace:
    return StorePlace.parse(f"{store.url()}&port={port}{attributes}")


def _size_at(connections: Connections) -> int:
    return int(connections.read("SELECT count(*) FROM index.entry")[0][0])


# --- tiles --------------------------------------------------------------------------------------------------------------


def test_tiles_and_bundles_are_those_of_the_log_on_disk_byte_for_byte(connections: Connections, tmp_path: Path) -> None:
    records = make_records(800)
    with (
        closing(IndexSqlite(tmp_path / "index.sqlite")) as index,
        LogOnDisk(tmp_path / "log", index) as disk,
        LogInPostgres(connections) as log,
    ):
        done = 0
        for size in (1, 255, 256, 257, 700, 768, 800):
            new = [(record, leaf_of(record)) for record in records[done:size]]
            done = size
            disk.append_leaves(new)
            log.append_leaves(new)
            assert disk.settle() == log.settle()
            paths = [TilePath(None, n, min(TILE_WIDTH, size - n * TILE_WIDTH)) for n in range(-(-size // TILE_WIDTH))]
            paths += [
                TilePath(level, n, width) for level in (0, 1) for n in range(4) if (width := tile_width(level, n, size))
            ]
            assert [log.tile(path) for path in paths] == [disk.tile(path) for path in paths]
        for path in (
            TilePath(1, 0, 4),
            TilePath(0, 3, 33),
            TilePath(None, 4, 1),
            TilePath(63, 0, 1),
            TilePath(2, 0, 1),
        ):
            with pytest.raises(Unavailable):
                log.tile(path)
        assert merkle.root_at(700, log.hashes) == merkle.root_at(700, disk.hashes)
