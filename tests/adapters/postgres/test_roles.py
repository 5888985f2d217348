"""Roles and the schema: what the service's role may do, what it may not, and what it can do in somebody else's hands."""

from __future__ import annotations

from contextlib import ExitStack, closing

import psycopg
import pytest

from keyturn.adapters.postgres import batches
from keyturn.adapters.postgres.connections import Connections
from keyturn.adapters.postgres.index import IndexInPostgres
from keyturn.adapters.postgres.log import LogInPostgres, reindex
from keyturn.adapters.postgres.place import StorePlace
from keyturn.adapters.postgres.schema import VERSION, migrate, require_empty, require_ready
from keyturn.errors import Refused, Unavailable, Usage
from keyturn.formats.digest import sha256
from keyturn.tlog.frontier import Frontier
from support.batches_in_postgresql import RECORDS
from support.postgresql import Cluster, Store
from support.processes import wait_for


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
