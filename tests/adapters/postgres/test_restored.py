"""A database that was restored, put back or started again writes nothing before its witnesses were asked."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from keyturn.adapters.postgres.connections import Connections
from keyturn.adapters.postgres.log import LogInPostgres, verify_batches
from keyturn.errors import KeyturnError, Refused, Unavailable
from keyturn.formats.digest import sha256
from keyturn.tlog.frontier import Frontier
from support.batches_in_postgresql import RECORDS, publish
from support.postgresql import Cluster, Store


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
