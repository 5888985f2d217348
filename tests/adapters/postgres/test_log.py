"""The log in PostgreSQL: what is altered is found and named, what is restored never forks, and roles do no more than they may."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import psycopg
import pytest

from keyturn.adapters.log_on_disk.index_sqlite import IndexSqlite
from keyturn.adapters.log_on_disk.log import LogOnDisk
from keyturn.adapters.postgres import batches
from keyturn.adapters.postgres.connections import Connections
from keyturn.adapters.postgres.index import IndexInPostgres
from keyturn.adapters.postgres.log import LogInPostgres, reindex, verify_batches
from keyturn.adapters.postgres.place import StorePlace
from keyturn.adapters.postgres.reader import LogInPostgresReader
from keyturn.adapters.postgres.schema import VERSION, migrate, require_empty, require_ready
from keyturn.errors import KeyturnError, Refused, Tampered, Unavailable, Usage
from keyturn.formats import checkpoint as checkpoints
from keyturn.formats.checkpoint import Checkpoint
from keyturn.formats.digest import sha256
from keyturn.formats.records import leaf_of
from keyturn.formats.tile import TILE_WIDTH, TilePath, tile_width
from keyturn.tlog import merkle
from keyturn.tlog.frontier import Frontier
from support.log_records import make_record, make_records
from support.postgresql import Cluster, Store
from support.processes import wait_for

RECORDS = make_records(9)


@pytest.fixture
def connections(store: Store) -> Iterator[Connections]:
    with closing(store.connections()) as connections:
        yield connections


def note_of(frontier: Frontier) -> bytes:
    body = checkpoints.render_body(Checkpoint("log.acme.example", frontier.size, frontier.root))
    return body + b"\n" + "— log.acme.example AAAAAAAA\n".encode()


def publish(log: LogInPostgres) -> Frontier:
    tree = log.settle()
    for which in ("signed", "checkpoint"):
        log.swap(which, log.note(which), note_of(tree))  # type: ignore[arg-type]
    return tree


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


@pytest.fixture
def three_batches(connections: Connections) -> Frontier:
    with LogInPostgres(connections) as log:
        for start in (0, 3, 6):
            log.append_leaves([(record, leaf_of(record)) for record in RECORDS[start : start + 3]])
        return log.settle()


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


# --- the witnesses ------------------------------------------------------------------------------------------------------


def test_a_published_log_takes_no_append_before_its_witnesses_were_asked(connections: Connections) -> None:
    with LogInPostgres(connections) as log:
        log.append(RECORDS[0])
        tree = publish(log)
    with LogInPostgres(connections) as log:
        with pytest.raises(Unavailable, match="log-unconfirmed"):
            log.append(RECORDS[1])
        log.confirm(tree.size, tree.root)
        assert log.append(RECORDS[1]) == 1


def test_a_log_that_was_behind_or_another_once_never_takes_an_append_again_in_that_process(
    connections: Connections,
) -> None:
    for size, code in ((9, "log-behind-witnesses"), (1, "log-fork")):
        with LogInPostgres(connections) as log:
            tree = log.settle() if log.size else Frontier.empty()
            if not tree.size:
                log.append(RECORDS[0])
                tree = log.settle()
            for act in (
                lambda: log.confirm(size, bytes(32)),
                lambda: log.confirm(tree.size, tree.root),
                lambda: log.append(RECORDS[5]),
            ):
                with pytest.raises(KeyturnError, match=code):
                    act()


def dump_of(store: Store, directory: Path) -> Path:
    """A backup, made as docs/guide/postgresql.md says."""
    place = directory / "backup"
    subprocess.run(["pg_dump", "--format=custom", f"--file={place}", store.url("admin")], check=True)
    return place


def restore(cluster: Cluster, backup: Path) -> Store:
    """The backup in a database of its own, as the guide says."""
    fresh = cluster.store("template1")
    subprocess.run(["pg_restore", "--exit-on-error", f"--dbname={fresh.url('admin')}", backup], check=True)
    return fresh


def test_a_restored_backup_is_whole_and_refuses_to_write_when_it_is_behind_its_witnesses(
    store: Store, cluster: Cluster, connections: Connections, tmp_path: Path
) -> None:
    with LogInPostgres(connections) as log:
        for record in RECORDS[:3]:
            log.append(record)
        publish(log)
        backup = dump_of(store, tmp_path)
        log.confirm(3, log.settle().root)
        log.append(RECORDS[3])
        newest = publish(log)
    restored = restore(cluster, backup)
    with closing(restored.connections()) as again, LogInPostgres(again) as log:
        assert verify_batches(again, size_min=3) == 3
        assert log.envelope(sha256(RECORDS[2])) == RECORDS[2]
        with pytest.raises(Unavailable, match="log-unconfirmed"):
            log.append(RECORDS[4])
        with pytest.raises(Refused, match="log-behind-witnesses"):
            log.confirm(newest.size, newest.root)
        with pytest.raises(Refused, match="log-behind-witnesses"):
            log.append(RECORDS[4])
    with restored.admin() as db, pytest.raises(psycopg.errors.RaiseException, match="append-only"):
        db.execute("DELETE FROM log.batch")


def test_a_database_put_back_under_a_running_process_is_not_written_to_before_the_witnesses_were_asked_again(
    store: Store, cluster: Cluster, connections: Connections, tmp_path: Path
) -> None:
    """The process has seen no more than the backup holds, and another process wrote what is lost: only witnesses know."""
    with LogInPostgres(connections) as log:
        log.append(RECORDS[0])
        tree = publish(log)
        log.confirm(tree.size, tree.root)
        restored = restore(cluster, dump_of(store, tmp_path))
        with closing(store.connections()) as others, LogInPostgres(others) as other:
            other.confirm(tree.size, tree.root)
            other.append(RECORDS[1])
            newest = publish(other)
        with psycopg.connect(f"postgresql://admin@/postgres?host={store.socket_dir}", autocommit=True) as admin:
            for name in (store.name, restored.name):
                admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
            admin.execute(f"ALTER DATABASE {store.name} RENAME TO {store.name}_lost")
            admin.execute(f"ALTER DATABASE {restored.name} RENAME TO {store.name}")
        for _ in range(2):
            with pytest.raises(Unavailable, match="log-unconfirmed"):
                log.append(RECORDS[2])
        with pytest.raises(Unavailable, match="log-unconfirmed"):
            log.settle()  # says it once, to whoever asks the witnesses then
        with pytest.raises(Refused, match="log-behind-witnesses"):
            log.confirm(newest.size, newest.root)
        with pytest.raises(Refused, match="log-behind-witnesses"):
            log.append(RECORDS[2])


def test_a_server_that_was_started_again_is_written_to_once_the_witnesses_said_that_the_log_is_not_behind(
    cluster: Cluster, connections: Connections
) -> None:
    with LogInPostgres(connections) as log:
        log.append(RECORDS[0])
        tree = publish(log)
        log.confirm(tree.size, tree.root)
        assert log.append(RECORDS[1]) == 1
        cluster.stop()
        cluster.start()
        with pytest.raises(Unavailable, match="log-unconfirmed"):
            log.append(RECORDS[2])
        with pytest.raises(Unavailable, match="log-unconfirmed"):
            log.confirm(tree.size, tree.root)  # it was about the database that was there before
        log.confirm(tree.size, tree.root)
        assert log.append(RECORDS[2]) == 2
        assert log.append(RECORDS[1]) == 1


def test_what_witnesses_say_of_a_database_that_is_replaced_meanwhile_confirms_nothing(
    cluster: Cluster, connections: Connections
) -> None:
    class Replaced(LogInPostgres):
        """While it is compared with what the witnesses know, the server is started again."""

        def hashes(self, level: int, start: int, end: int) -> Sequence[bytes]:
            if started:
                started.pop()
                cluster.stop()
                cluster.start()
            return super().hashes(level, start, end)

    started: list[bool] = []
    with LogInPostgres(connections) as log:
        log.append(RECORDS[0])
        tree = publish(log)
    with Replaced(connections) as log:
        started.append(True)
        with pytest.raises(Unavailable, match="log-unconfirmed"):
            log.confirm(tree.size, tree.root)
        with pytest.raises(Unavailable, match="log-unconfirmed"):
            log.append(RECORDS[1])
        log.confirm(tree.size, tree.root)
        assert log.append(RECORDS[1]) == 1


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


# --- roles and the schema -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE log.batch SET count = count",
        "DELETE FROM log.batch",
        "TRUNCATE log.batch",
        "SELECT * FROM log.batch FOR UPDATE",
        "UPDATE log.envelope SET idx = idx",
        "DELETE FROM log.envelope",
        "TRUNCATE log.envelope",
        "DELETE FROM log.note",
        "ALTER TABLE log.batch DISABLE TRIGGER ALL",
        "DROP TABLE log.batch",
        "CREATE TABLE log.other (x integer)",
        "CREATE TABLE index.other (x integer)",
        "INSERT INTO log.migration VALUES (99)",
    ],
)
def test_the_service_may_not_alter_what_was_appended(
    connections: Connections, three_batches: Frontier, statement: str
) -> None:
    with pytest.raises(Refused, match="store-role"):
        connections.read(statement)


@pytest.mark.parametrize("table", ["log.batch", "log.envelope"])
def test_the_owner_does_not_alter_it_by_mistake(store: Store, three_batches: Frontier, table: str) -> None:
    with closing(store.connections("owner")) as owner:
        for statement in (f"DELETE FROM {table}", f"TRUNCATE {table}", f"UPDATE {table} SET sha256 = sha256"):
            with pytest.raises(Unavailable, match="append-only"):
                owner.read(statement)


def test_a_batch_that_is_not_next_is_refused_by_the_database_itself(
    store: Store, connections: Connections, three_batches: Frontier
) -> None:
    statement = """INSERT INTO log.batch
      SELECT {0}, 1, '', nodes, sha256(int8send({0}) || int4send(1) || '' || nodes) FROM (SELECT %s::bytea) AS given (nodes)"""
    for first in (8, 10, 3):
        with pytest.raises(Unavailable, match="expected a batch at entry 9"):
            connections.read(statement.format(first), (bytes(32 * (first + 1).bit_count()),))
    with pytest.raises(Unavailable, match="CheckViolation"):
        connections.read(statement.format(9), (bytes(32),))


@pytest.mark.parametrize("user", ["owner", "admin"])
def test_a_role_that_may_alter_the_log_does_not_serve_it(store: Store, user: str) -> None:
    with closing(store.connections(user)) as connections, pytest.raises(Refused, match="store-role"):
        LogInPostgres(connections)


def test_nobody_else_may_connect(store: Store) -> None:
    with psycopg.connect(store.url("admin"), autocommit=True) as db:
        db.execute("DROP ROLE IF EXISTS stranger")
        db.execute("CREATE ROLE stranger LOGIN")
    place = StorePlace.parse(store.url("stranger").replace(store.name, "migrated"))
    with closing(Connections(place)) as stranger, pytest.raises(Unavailable, match="permission denied for database"):
        stranger.read("SELECT 1")


def test_the_schema_is_made_once_and_grants_as_often_as_asked(cluster: Cluster) -> None:
    store = cluster.store("empty")
    with closing(store.connections("owner")) as owner, closing(store.connections()) as service:
        with pytest.raises((Unavailable, Refused), match=r"store-schema|store-role"):
            require_ready(service)
        assert migrate(owner, service="service") == VERSION
        assert migrate(owner, service="service") == 0
        require_ready(service)
        require_empty(service)
        with LogInPostgres(service) as log:
            log.append(RECORDS[0])
        with pytest.raises(Refused, match="store-taken"):
            require_empty(service)
        for role, code in (
            ("nobody here", "store-role-unknown"),
            ("owner", "store-role-owner"),
            ("admin", "store-role-owner"),
        ):
            with pytest.raises(Usage, match=code):
                migrate(owner, service=role)
        owner.read("INSERT INTO log.migration VALUES (99) RETURNING 1")
        with pytest.raises(Unavailable, match="store-newer"):
            migrate(owner, service="service")
        with pytest.raises(Unavailable, match="store-version"):
            require_ready(service)


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes"])
def test_a_server_that_forgets_what_it_acknowledged_is_refused(
    store: Store, connections: Connections, setting: str
) -> None:
    def switch(value: str) -> None:
        with store.admin() as admin:
            admin.execute(f"ALTER SYSTEM SET {setting} = {value}")
            admin.execute("SELECT pg_reload_conf()")
        wait_for("the setting", lambda: connections.read(f"SHOW {setting}") == [(value,)] or None)

    with ExitStack() as stack:
        stack.callback(switch, "on")
        switch("off")
        with pytest.raises(Refused, match="store-forgets"):
            LogInPostgres(connections)


def test_every_session_commits_synchronously_whatever_the_role_was_told(store: Store) -> None:
    with store.admin() as admin:
        admin.execute(f"ALTER ROLE service IN DATABASE {store.name} SET synchronous_commit = off")
    with closing(store.connections()) as connections:
        assert connections.read("SHOW synchronous_commit") == [("on",)]


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


# --- the service's role in somebody else's hands -------------------------------------------------------------------------


def insert_texts(store: Store, *texts: bytes) -> None:
    """Append texts as leaves, with the service's role and without this program."""
    with psycopg.connect(store.url(), autocommit=True) as db:
        tail = batches.tail_of(db)
        batches.insert(db, tail.size, texts, tail.extend(texts))


@pytest.mark.parametrize(
    "text", [b"no leaf", b"", b"\xff", b"[" * 20000, b"x" * 65535], ids=lambda text: repr(text[:4])
)
def test_a_text_that_is_no_leaf_stops_neither_the_log_nor_its_index(
    store: Store, connections: Connections, text: bytes
) -> None:
    with LogInPostgres(connections) as log:
        log.append(RECORDS[0])
        insert_texts(store, text)
        assert [log.append(record) for record in RECORDS[:3]] == [0, 2, 3]
    assert reindex(connections) == 4
    with LogInPostgres(connections) as log:
        assert log.leaves(1, 2) == [text]
        assert log.append(RECORDS[2]) == 3
        assert [found.index for found in IndexInPostgres(connections).by_record("")] == [0, 2, 3]


def test_envelopes_that_came_with_no_entry_keep_no_record_out(store: Store, connections: Connections) -> None:
    with LogInPostgres(connections) as log:
        log.append(RECORDS[0])
        with psycopg.connect(store.url(), autocommit=True) as db:
            for record, idx in ((RECORDS[1], 1), (RECORDS[2], 0), (b"no record", 2), (b"another", 3)):
                db.execute(
                    "INSERT INTO log.envelope (sha256, idx, content) VALUES (sha256(%s), %s, %s)", (record, idx, record)
                )
        assert [log.append(record) for record in RECORDS[:5]] == [0, 1, 2, 3, 4]
        assert [log.envelope(sha256(record)) for record in RECORDS[:5]] == RECORDS[:5]


def test_rows_of_entries_that_are_not_there_stop_the_log_until_it_is_indexed_again(
    store: Store, connections: Connections
) -> None:
    with LogInPostgres(connections) as log:
        log.append(RECORDS[0])
        with psycopg.connect(store.url(), autocommit=True) as db:
            db.execute("INSERT INTO index.entry (idx, kind, record, envelope) VALUES (1, 'chk', '', '')")
        with pytest.raises(Unavailable, match="store-rows"):
            log.append(RECORDS[1])
        reindex(connections)
        assert log.append(RECORDS[1]) == 1
