"""Group commit: many threads, one sync; when it dies, everybody is told."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from keyturn.adapters.group_commit import GroupCommit, Waiting
from keyturn.adapters.log_on_disk.disk import PosixDisk
from keyturn.adapters.log_on_disk.index_sqlite import IndexSqlite
from keyturn.adapters.log_on_disk.log import LogOnDisk
from keyturn.errors import Unavailable
from support.log_records import make_record, make_records


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_when_the_committing_thread_dies_all_who_wait_fail_and_so_does_whoever_comes_later() -> None:
    entered, go = threading.Event(), threading.Event()

    def commit(group: list[Waiting]) -> None:
        entered.set()
        go.wait(30)
        raise MemoryError

    group = GroupCommit(commit, count_max=10, bytes_max=1 << 20)
    failed: list[Unavailable] = []

    def wait() -> None:
        with pytest.raises(Unavailable, match="log-stopped") as err:
            group.submit(Waiting(b"", "", b""))
        failed.append(err.value)

    threads = [threading.Thread(target=wait) for _ in range(30)]
    for thread in threads:
        thread.start()
    entered.wait(30)
    go.set()
    for thread in threads:
        thread.join(30)
    assert len(failed) == 30
    wait()
    assert "MemoryError" in failed[-1].message
    group.close()  # its thread has ended, and said why


def test_one_sync_serves_many_threads(tmp_path: Path) -> None:
    class Counting(PosixDisk):
        syncs = 0

        def sync(self, fd: int) -> None:
            self.syncs += 1
            super().sync(fd)

    disk, index = Counting(), IndexSqlite(tmp_path / "index.sqlite")
    with LogOnDisk(tmp_path / "log", index, disk=disk) as log, ThreadPoolExecutor(max_workers=32) as pool:
        before = disk.syncs
        found = list(pool.map(log.append, make_records(640)))
        syncs = disk.syncs - before
        assert sorted(found) == list(range(640))
        assert syncs < 320
    index.close()


def test_the_same_record_by_many_threads_is_one_entry(tmp_path: Path) -> None:
    index = IndexSqlite(tmp_path / "index.sqlite")
    with LogOnDisk(tmp_path / "log", index) as log, ThreadPoolExecutor(max_workers=16) as pool:
        found = list(pool.map(log.append, [make_record(n % 5) for n in range(100)]))
        assert len(set(found)) == 5 == log.size
        assert all(found[n] == found[n % 5] for n in range(100))
    index.close()


def test_a_closed_log_takes_nothing(tmp_path: Path) -> None:
    index = IndexSqlite(tmp_path / "index.sqlite")
    log = LogOnDisk(tmp_path / "log", index)
    log.append(make_record(1))
    log.close()
    with pytest.raises(Unavailable, match="log-stopped"):
        log.append(make_record(2))
    index.close()
