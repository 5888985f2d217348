"""Lose the connection at every request, end backends, kill processes: nothing acknowledged is lost, and each record is there
once.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path

import pytest

from keyturn.adapters.postgres import log as log_module
from keyturn.adapters.postgres.log import LogInPostgres, verify_batches
from keyturn.errors import Conflict, Unavailable
from keyturn.formats import checkpoint as checkpoints
from keyturn.formats import leaf as leaf_format
from keyturn.formats.checkpoint import Checkpoint
from keyturn.formats.digest import sha256
from keyturn.formats.records import leaf_of
from keyturn.tlog import merkle
from support.cut_connection import Cutter, cutting
from support.log_records import make_record, make_records
from support.postgresql import Cluster, Store
from support.processes import Process, running, wait_for

TESTS = Path(__file__).resolve().parents[2]


@pytest.fixture
def cutter(store: Store) -> Iterator[Cutter]:
    with cutting(store.socket_dir) as cutter:
        yield cutter


@pytest.fixture
def beyond(store: Store, cutter: Cutter) -> Iterator[LogInPostgres]:
    """The log, behind a connection that can be cut."""
    with (
        closing(store.connections(socket_dir=cutter.directory)) as connections,
        LogInPostgres(connections) as log,
    ):
        yield log


def note_of(size: int, filler: int = 0) -> bytes:
    body = checkpoints.render_body(Checkpoint("log.acme.example", size, bytes([filler]) * 32))
    return body + b"\n" + "— log.acme.example AAAAAAAA\n".encode()


def check(store: Store, acknowledged: dict[int, bytes]) -> int:
    """Everything acknowledged is at its place, every record is there once, and the tree is whole."""
    with closing(store.connections()) as connections:
        size = verify_batches(connections, size_min=len(acknowledged))
        with LogInPostgres(connections) as log:
            leaves = [leaf_format.parse(raw) for raw in log.leaves(0, size)]
            assert merkle.root_at(size, log.hashes) == log.settle().root
            assert len({leaf.envelope for leaf in leaves}) == size
            for index, record in acknowledged.items():
                assert leaves[index] == leaf_of(record)
                assert log.envelope(sha256(record)) == record
        ((envelopes, entries),) = connections.read(
            "SELECT (SELECT count(*) FROM log.envelope), (SELECT count(*) FROM index.entry)"
        )
    assert (envelopes, entries) == (size, size)
    return size


@pytest.mark.parametrize("lost", ["request", "answer"])
def test_an_append_is_answered_right_wherever_the_connection_is_lost(
    store: Store, cutter: Cutter, beyond: LogInPostgres, lost: str
) -> None:
    acknowledged: dict[int, bytes] = {}
    number, asked = 0, []
    while True:
        number += 1
        record = make_record(number)
        cutter.cut_at(number, lost)  # type: ignore[arg-type]
        acknowledged[beyond.append(record)] = record
        if not cutter.has_cut:
            break
        asked.append(cutter.requests[-1])
        assert list(acknowledged) == list(range(number))
    assert any(b"COMMIT" in request for request in asked)
    assert number > 8
    assert check(store, acknowledged) == number


@pytest.mark.parametrize("lost", ["request", "answer"])
def test_a_note_is_swapped_or_not_wherever_the_connection_is_lost(
    cutter: Cutter, beyond: LogInPostgres, lost: str
) -> None:
    old = None
    for number in range(1, 99):
        cutter.cut_at(number, lost)  # type: ignore[arg-type]
        beyond.swap("signed", old, note_of(number))
        old = note_of(number)
        if not cutter.has_cut:
            break
        assert beyond.note("signed") == old
    assert number > 4


def test_a_swap_whose_answer_was_lost_does_not_overwrite_what_another_process_wrote(
    store: Store, cutter: Cutter, beyond: LogInPostgres
) -> None:
    with closing(store.connections()) as connections, LogInPostgres(connections) as other:
        beyond.swap("signed", None, note_of(1))
        cutter.cut_at(1, "request", for_good=True)
        with pytest.raises(Unavailable, match="store-unreachable"):
            beyond.swap("signed", note_of(1), note_of(2))
        other.swap("signed", note_of(1), note_of(3))
        cutter.come_back()
        with pytest.raises(Conflict):
            beyond.swap("signed", note_of(1), note_of(2))
        assert beyond.note("signed") == note_of(3)


@pytest.mark.parametrize(
    ("what", "lost", "code", "size"),
    [
        pytest.param(b"COMMIT", "answer", "store-outcome-unknown", 1, id="the commit was done and its answer lost"),
        pytest.param(b"COMMIT", "request", "store-outcome-unknown", 0, id="the commit never arrived"),
        pytest.param(b"log.envelope", "answer", "store-unreachable", 0, id="before the commit was asked for"),
    ],
)
def test_a_database_that_stays_away_is_said_and_the_same_record_finds_its_place_later(
    store: Store,
    cutter: Cutter,
    beyond: LogInPostgres,
    monkeypatch: pytest.MonkeyPatch,
    what: bytes,
    lost: str,
    code: str,
    size: int,
) -> None:
    monkeypatch.setattr(log_module, "_PATIENCE_S", 0.3)
    cutter.cut_at(99, "request")
    beyond.append(make_record(0))
    number = next(n for n, request in enumerate(cutter.requests, 1) if what in request)
    cutter.cut_at(number, lost, for_good=True)  # type: ignore[arg-type]
    with pytest.raises(Unavailable) as caught:
        beyond.append(make_record(1))
    assert caught.value.code == code
    with closing(store.connections()) as connections:
        assert verify_batches(connections, size_min=0) == 1 + size
        cutter.come_back()
        with LogInPostgres(connections) as other:
            assert other.append(make_record(2)) == 1 + size
        assert beyond.append(make_record(1)) == (1 if size else 2)


def test_a_group_is_acknowledged_only_after_a_commit_of_its_own_even_when_all_of_it_is_there(store: Store) -> None:
    """A standby that must confirm commits has then confirmed what came before."""
    with closing(store.connections()) as connections, LogInPostgres(connections) as log:
        log.append(make_record(1))
        written = "SELECT pg_current_wal_flush_lsn() - '0/0'::pg_lsn"
        before = connections.read(written)
        log.append(make_record(1))
        assert connections.read(written) > before


def test_threads_whose_backends_are_ended_lose_nothing(store: Store) -> None:
    acknowledged: dict[int, bytes] = {}
    enough = threading.Event()
    with closing(store.connections()) as connections, LogInPostgres(connections) as log, store.admin() as admin:

        def append(start: int) -> None:
            for number in count(start):
                record = make_record(number)
                acknowledged[log.append(record)] = record
                if enough.is_set():
                    return

        def end_one() -> bool:
            """End a session in the middle of what it does; those that wait for nothing are idle."""
            return bool(
                admin.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'keyturn'"
                    " AND datname = current_database() AND state <> 'idle'"
                ).fetchall()
            )

        threads = [threading.Thread(target=append, args=(100_000 * k,)) for k in range(6)]
        for thread in threads:
            thread.start()
        for ended in range(1, 11):
            then = len(acknowledged)
            wait_for("a session that does something", lambda: end_one() or None)
            wait_for("more acknowledgements", lambda then=then: len(acknowledged) > then + ended or None)
        enough.set()
        for thread in threads:
            thread.join()
    assert check(store, acknowledged) == len(acknowledged) > 50


def appending(store: Store, first: int, count: int = 10_000):  # type: ignore[no-untyped-def]
    words = [sys.executable, "-m", "support.appending", store.url(), str(first), str(count)]
    return running(words, environment={"PYTHONPATH": str(TESTS)})


def acknowledged_by(process: Process) -> dict[int, bytes]:
    """What the process said; its last line may have been cut."""
    said = [line.split() for line in process.output.rpartition("\n")[0].splitlines()]
    return {int(words[0]): make_record(int(words[1])) for words in said if len(words) == 2}


@pytest.mark.parametrize("after", [1, 7, 30, 100])
def test_a_process_killed_while_it_appends_loses_nothing_that_it_acknowledged(store: Store, after: int) -> None:
    with appending(store, 0) as process:
        wait_for("acknowledgements", lambda: process.output.count("\n") > after or None, process)
        process.kill()
        acknowledged = acknowledged_by(process)
    assert len(acknowledged) > after
    assert check(store, acknowledged) >= len(acknowledged)


def test_of_two_processes_that_append_to_one_log_the_other_goes_on_when_one_is_killed(store: Store) -> None:
    with appending(store, 0) as killed, appending(store, 100_000) as other:
        for process in (killed, other):
            wait_for("acknowledgements", lambda process=process: process.output.count("\n") > 60 or None, process)
        killed.kill()
        then = other.output.count("\n")
        wait_for("more of them", lambda: other.output.count("\n") > then + 60 or None, other)
        other.kill()
        ours, theirs = acknowledged_by(other), acknowledged_by(killed)
    assert ours.keys().isdisjoint(theirs)
    assert any(min(theirs) < index < max(theirs) for index in ours), "their batches lie between each other"
    assert max(ours) > max(theirs)
    assert check(store, {**ours, **theirs}) >= len(ours) + len(theirs)


def test_a_server_that_crashes_loses_nothing_that_was_acknowledged(store: Store, cluster: Cluster) -> None:
    acknowledged: dict[int, bytes] = {}
    with closing(store.connections()) as connections, LogInPostgres(connections) as log:

        def submitted(record: bytes) -> int:
            """Submit until it is acknowledged, as people do: a busy machine may take longer to recover than an append waits."""
            while True:
                try:
                    return log.append(record)
                except Unavailable as err:
                    if err.code not in ("store-unreachable", "store-outcome-unknown"):
                        raise

        def append(start: int) -> None:
            for record in make_records(60, start=start):
                acknowledged[submitted(record)] = record

        threads = [threading.Thread(target=append, args=(1000 * k,)) for k in range(3)]
        for thread in threads:
            thread.start()
        for number in (20, 70):
            wait_for("acknowledgements", lambda number=number: len(acknowledged) > number or None)
            cluster.stop("immediate")
            cluster.start()
        for thread in threads:
            thread.join()
    assert len(acknowledged) == 180
    assert check(store, acknowledged) == 180


def test_a_commit_that_no_standby_confirmed_is_not_acknowledged_until_one_does(store: Store) -> None:
    with (
        closing(store.connections()) as connections,
        LogInPostgres(connections) as log,
        store.admin() as admin,
        ExitStack() as stack,
    ):
        log.append(make_record(0))

        def require(standby: str) -> None:
            admin.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{standby}'")
            admin.execute("SELECT pg_reload_conf()")

        def cancelled() -> object:
            return admin.execute(
                "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
                " AND datname = current_database()"
            ).fetchone()

        def commit_until_one_waits() -> None:
            with store.admin() as probe:
                while not waits.is_set():
                    probe.execute("SELECT pg_logical_emit_message(true, 'probe', '')")

        stack.callback(require, "")
        require("nowhere")
        waits = threading.Event()  # the server takes the setting when its checkpointer comes to it
        probing = threading.Thread(target=commit_until_one_waits)
        probing.start()
        wait_for("the server to demand a standby", cancelled)
        waits.set()
        while probing.is_alive():
            cancelled()
            probing.join(0.05)
        found: list[int] = []
        thread = threading.Thread(target=lambda: found.append(log.append(make_record(1))))
        thread.start()
        for _ in range(
            3
        ):  # each time an impatient administrator cancels the wait, which ends the commit with a warning
            wait_for("a commit that waits for its standby", cancelled)
            thread.join(0.05)
            assert found == []
        require("")
        thread.join()
        assert found == [1]
    assert check(store, {1: make_record(1)}) == 2


def test_a_process_that_stands_still_holds_nobody_up_for_long(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from keyturn.adapters.postgres import connections as module

    monkeypatch.setitem(module._CONNECTION, "options", "-c lock_timeout=200ms")
    with (
        closing(store.connections()) as connections,
        LogInPostgres(connections) as log,
        closing(store.connections()) as others,
        others.borrowed() as still,
    ):
        still.execute("BEGIN")
        still.execute(log_module._LOCK)
        with pytest.raises(Unavailable, match="store-busy"):
            log.append(make_record(1))
        still.execute("SET idle_in_transaction_session_timeout = '10ms'")
        wait_for("the server to end it", lambda: _appended(log))


def _appended(log: LogInPostgres) -> int | None:
    try:
        return log.append(make_record(1))
    except Unavailable as err:
        if err.code != "store-busy":
            raise
        return None
