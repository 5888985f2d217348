"""A writer beside one that died: what it left is cut or made durable before anything rests on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from keyturn.adapters.log_on_disk.disk import PosixDisk
from keyturn.adapters.log_on_disk.pack import START, batches_from, pack_path
from keyturn.errors import Tampered, Unavailable
from support.log_records import note_of
from support.log_runs import PACK_OF_TWO, RECORDS, check
from support.power import Power


def test_a_writer_beside_one_that_died_cuts_what_it_left_and_goes_on(open_log: Callable, tmp_path: Path) -> None:
    with open_log(pack_bytes_max=3000) as ours, open_log(pack_bytes_max=3000) as theirs:
        assert [ours.append(RECORDS[0]), theirs.append(RECORDS[1]), ours.append(RECORDS[2])] == [0, 1, 2]
        newest = max((tmp_path / "log" / "envelopes").glob("*.pack"))
        whole = newest.read_bytes()
        for left in (b"\xffKTBATC1", bytes(500), whole[-300:]):
            newest.write_bytes(newest.read_bytes() + left)
            assert theirs.append(RECORDS[0]) == 0
            assert newest.read_bytes() == whole
        assert [theirs.append(RECORDS[3]), ours.append(RECORDS[4]), ours.append(RECORDS[3])] == [3, 4, 3]
        check(theirs, [*RECORDS[:5]])


def test_a_log_cut_beside_a_running_writer_is_tampering_to_that_writer(open_log: Callable, tmp_path: Path) -> None:
    with open_log() as log:
        for record in RECORDS[:3]:
            log.append(record)
        pack = pack_path(tmp_path / "log", 0)
        ends = [tail.offset for _, tail in batches_from(tmp_path / "log", START)]
        whole = pack.read_bytes()
        pack.write_bytes(whole[: ends[1]])
        with pytest.raises(Tampered, match="log-goes-back"):
            log.append(RECORDS[4])
        pack.write_bytes(whole)
        assert log.append(RECORDS[4]) == 3


class Beside:
    """A log with RECORDS[0] in it, beside another process that wrote RECORDS[1] to the same pack and died before its sync."""

    def __init__(
        self, open_log: Callable, failing_disk: Callable, pack: Path, stack: ExitStack, *, pack_bytes_max: int = 1 << 20
    ) -> None:
        self.ours = stack.enter_context(open_log(pack_bytes_max=pack_bytes_max))
        assert self.ours.append(RECORDS[0]) == 0
        self.ours.settle()
        disk = failing_disk(fail_at=10**9)
        theirs = stack.enter_context(open_log(disk=disk, pack_bytes_max=pack_bytes_max))
        theirs.settle()
        disk.fail_in(2)  # the append is done, and the sync is not
        self.synced = pack.read_bytes()
        with pytest.raises(Unavailable, match="log-disk"):
            theirs.append(RECORDS[1])
        assert disk.failed
        self.left = pack.read_bytes()[len(self.synced) :]
        assert len(self.synced) < PACK_OF_TWO <= len(self.synced + self.left)


@pytest.fixture
def make_beside(open_log: Callable, failing_disk: Callable, tmp_path: Path) -> Iterator[Callable[..., Beside]]:
    with ExitStack() as stack:
        yield partial(Beside, open_log, failing_disk, pack_path(tmp_path / "log", 0), stack)


@pytest.fixture
def beside(make_beside: Callable[..., Beside]) -> Beside:
    return make_beside()


def test_a_tree_is_signed_only_once_what_a_dead_writer_left_in_it_is_durable(
    open_log: Callable, beside: Beside, power: Power
) -> None:
    tree = beside.ours.settle()
    assert tree.size == 2
    beside.ours.swap("signed", None, note_of(tree))
    power.cut()
    with open_log() as log:
        check(log, [*RECORDS[:2]], 2)


def test_a_record_that_a_dead_writer_left_is_acknowledged_only_once_it_is_durable(
    open_log: Callable, beside: Beside, power: Power
) -> None:
    assert beside.ours.append(RECORDS[1]) == 1
    power.cut()
    with open_log() as log:
        check(log, [*RECORDS[:2]])


def test_a_pack_that_a_dead_writer_filled_is_durable_before_the_next_one_begins(
    open_log: Callable, make_beside: Callable[..., Beside], power: Power, tmp_path: Path
) -> None:
    assert make_beside(pack_bytes_max=PACK_OF_TWO).ours.append(RECORDS[2]) == 2
    power.cut()
    assert pack_path(tmp_path / "log", 2).exists()
    with open_log() as log:
        check(log, [*RECORDS[:3]])


def test_what_could_not_be_synced_is_never_derived_though_a_later_sync_says_it_was_done(
    open_log: Callable, beside: Beside, failing_disk: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(fd: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(PosixDisk, "sync", lambda disk, fd: fail(fd))
        with pytest.raises(Unavailable, match="log-disk"):
            beside.ours.settle()
    with pytest.raises(Unavailable, match="log-disk"):
        beside.ours.settle()


def test_opening_writes_and_syncs_again_what_a_dead_writer_left_before_anything_is_derived_from_it(
    open_log: Callable, beside: Beside, power: Power
) -> None:
    class Told(PosixDisk):
        """Remembers what it was told to do."""

        def __init__(self) -> None:
            self.did: list[object] = []

        def append(self, fd: int, raw: bytes, *, at: int) -> None:
            self.did.append((at, raw))
            super().append(fd, raw, at=at)

        def sync(self, fd: int) -> None:
            self.did.append("sync")
            super().sync(fd)

        def replace(self, path: Path, raw: bytes, *, durable: bool) -> None:
            self.did.append("replace")
            super().replace(path, raw, durable=durable)

    disk = Told()
    with open_log(disk=disk) as log:
        # A kernel that failed to write may call the data clean: a sync alone would say that all is well.
        assert disk.did[:3] == [(len(beside.synced), beside.left), "sync", "replace"]
        log.swap("signed", None, note_of(log.settle()))
        power.cut()
    with open_log() as log:
        check(log, [*RECORDS[:2]], 2)
