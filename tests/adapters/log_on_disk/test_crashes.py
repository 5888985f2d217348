"""Cut the power at every operation on the disk, then look: nothing acknowledged is lost, nothing half done is visible."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keyturn.adapters.log_on_disk.disk import PosixDisk
from keyturn.adapters.log_on_disk.pack import START, batches_from, pack_path, verify_packs
from keyturn.adapters.log_on_disk.tile_writer import TileWriter
from keyturn.errors import KeyturnError, Refused, Tampered, Unavailable
from keyturn.formats.digest import sha256
from keyturn.tlog import merkle
from keyturn.tlog.frontier import Frontier
from support.log_records import note_of
from support.log_runs import PACK_OF_TWO, RECORDS, check, run
from support.power import Power
from support.processes import wait_for


@pytest.mark.parametrize(
    ("part", "survives"),
    [
        pytest.param(0.02, "all", id="a write ends within its header"),
        pytest.param(0.999, "all", id="a write lacks its last bytes"),
        pytest.param(1.0, "nothing", id="a write is done, and the power takes it back"),
        pytest.param(0.6, "zeros", id="a write grew the file, and left zeros"),
    ],
)
def test_whatever_was_acknowledged_survives_a_crash_at_any_operation(
    open_log: Callable, failing_disk: Callable, tmp_path: Path, part: float, survives: str
) -> None:
    fail_at = 0
    finished = False
    while not finished:
        fail_at += 1
        for leftover in sorted(tmp_path.rglob("*"), reverse=True):
            leftover.rmdir() if leftover.is_dir() else leftover.unlink()
        acknowledged: list[bytes] = []
        signed: list[int] = []
        disk = failing_disk(fail_at=fail_at, part=part, survives=survives)
        try:
            with open_log(disk=disk, pack_bytes_max=3000) as log:
                run(log, acknowledged, signed)
            finished = True
        except (KeyturnError, OSError):
            assert disk.failed
        with open_log(pack_bytes_max=3000) as log:
            check(log, acknowledged, max(signed, default=0))
            log.confirm(0, merkle.EMPTY_ROOT)
            for record in RECORDS:
                log.append(record)
            check(log, [*RECORDS])
    assert fail_at > 30


def test_a_write_cut_at_any_byte_is_cut_off_and_nothing_else_is(open_log: Callable, tmp_path: Path) -> None:
    with open_log() as log:
        for record in RECORDS[:3]:
            log.append(record)
        note = note_of(log.settle())
        log.swap("signed", None, note)
        log.append(RECORDS[3])
    pack = pack_path(tmp_path / "log", 0)
    whole = pack.read_bytes()
    ends = [tail.offset for _, tail in batches_from(tmp_path / "log", START)]
    for cut in range(ends[2], ends[3], 7):
        for leftover in (tmp_path / "index.sqlite", tmp_path / "log" / "derived"):
            leftover.unlink()
        pack.write_bytes(whole[:cut])
        with open_log() as log:
            assert log.size == 3
            with pytest.raises(Unavailable, match="log-unconfirmed"):
                log.append(RECORDS[4])
            log.confirm(0, merkle.EMPTY_ROOT)
            assert log.append(RECORDS[4]) == 3
        pack.write_bytes(whole)


def test_a_batch_broken_below_the_newest_checkpoint_is_tampering_and_stays_as_it_is(
    open_log: Callable, tmp_path: Path
) -> None:
    with open_log() as log:
        for record in RECORDS[:4]:
            log.append(record)
        log.swap("signed", None, note_of(log.settle()))
    for leftover in (tmp_path / "index.sqlite", tmp_path / "log" / "derived"):
        leftover.unlink()
    pack = pack_path(tmp_path / "log", 0)
    torn = pack.read_bytes()[:-5]
    pack.write_bytes(torn)
    with pytest.raises(Tampered, match="log-behind-checkpoint"), open_log():
        pass
    assert pack.read_bytes() == torn


def test_a_broken_batch_with_an_intact_one_after_it_is_tampering(open_log: Callable, tmp_path: Path) -> None:
    with open_log() as log:
        for record in RECORDS[:4]:
            log.append(record)
    for leftover in (tmp_path / "index.sqlite", tmp_path / "log" / "derived"):
        leftover.unlink()
    pack = pack_path(tmp_path / "log", 0)
    whole = pack.read_bytes()
    ends = [0, *(tail.offset for _, tail in batches_from(tmp_path / "log", START))]
    for start in ends[:3]:
        for flipped in (start, start + 9, start + 40, start + 300):
            broken = bytearray(whole)
            broken[flipped] ^= 1
            pack.write_bytes(broken)
            with pytest.raises(Tampered), open_log():
                pass
            assert pack.read_bytes() == bytes(broken)


def test_a_batch_taken_out_of_the_middle_is_tampering(open_log: Callable, tmp_path: Path) -> None:
    with open_log() as log:
        for record in RECORDS[:4]:
            log.append(record)
    for leftover in (tmp_path / "index.sqlite", tmp_path / "log" / "derived"):
        leftover.unlink()
    pack = pack_path(tmp_path / "log", 0)
    whole = pack.read_bytes()
    ends = [tail.offset for _, tail in batches_from(tmp_path / "log", START)]
    pack.write_bytes(whole[: ends[0]] + whole[ends[1] :])
    with pytest.raises(Tampered, match="log-batch-order"), open_log():
        pass


def test_a_log_that_lost_its_last_batches_after_they_were_derived_is_tampering(
    open_log: Callable, tmp_path: Path
) -> None:
    with open_log() as log:
        for record in RECORDS[:4]:
            log.append(record)
        log.settle()
    pack = pack_path(tmp_path / "log", 0)
    ends = [tail.offset for _, tail in batches_from(tmp_path / "log", START)]
    pack.write_bytes(pack.read_bytes()[: ends[1]])
    with pytest.raises(Tampered, match="log-goes-back"), open_log():
        pass


def test_a_log_that_is_another_tree_than_the_one_it_signed_is_a_fork(open_log: Callable, tmp_path: Path) -> None:
    with open_log() as log:
        for record in RECORDS[:4]:
            log.append(record)
        log.swap("signed", None, note_of(Frontier.empty().extend([b"other"] * 3)))
    with pytest.raises(Tampered, match="checkpoint-fork"), open_log():
        pass


def test_torn_tiles_are_derived_again(open_log: Callable, tmp_path: Path) -> None:
    with open_log() as log:
        for record in RECORDS[:4]:
            log.append(record)
        log.settle()
    for torn in (
        tmp_path / "log" / "tile" / "0" / "000.p" / "4",
        tmp_path / "log" / "tile" / "entries" / "000.p" / "4",
    ):
        torn.write_bytes(torn.read_bytes()[:-7])
        with open_log() as log:
            check(log, list(RECORDS[:4]))


def test_what_was_derived_outlives_a_loss_of_power(open_log: Callable, power: Power, tmp_path: Path) -> None:
    with open_log() as log:
        for record in RECORDS[:4]:
            log.append(record)
        log.settle()
        served = {place: place.read_bytes() for place in (tmp_path / "log" / "tile").rglob("4")}
        power.cut()
    assert len(served) == 2
    assert {place: place.read_bytes() for place in (tmp_path / "log" / "tile").rglob("4")} == served


def test_a_failed_write_is_undone_and_the_log_goes_on(open_log: Callable, failing_disk: Callable) -> None:
    class FullOnce:
        """A disk that is full at one append, and then has room again."""

        def __init__(self) -> None:
            self._disk = failing_disk(fail_at=10**9)
            self.full = False

        def append(self, fd: int, raw: bytes, *, at: int) -> None:
            if self.full:
                self.full = False
                self._disk.append(fd, raw[:100], at=at)
                raise OSError(28, "No space left on device")
            self._disk.append(fd, raw, at=at)

        def __getattr__(self, name: str) -> object:
            return getattr(self._disk, name)

    disk = FullOnce()
    with open_log(disk=disk) as log:
        log.append(RECORDS[0])
        disk.full = True
        with pytest.raises(Unavailable, match="log-disk"):
            log.append(RECORDS[1])
        assert log.append(RECORDS[2]) == 1
        assert log.append(RECORDS[1]) == 2
        check(log, [RECORDS[0], RECORDS[2], RECORDS[1]])


class PassingError:
    """A disk on which what is derived cannot be written or synced from the `after`-th operation on, until `well`."""

    def __init__(self, after: int) -> None:
        self._disk = PosixDisk()
        self._left = after
        self.well = True

    def replace(self, path: Path, raw: bytes, *, durable: bool) -> None:
        self._step()
        self._disk.replace(path, raw, durable=durable)

    def sync(self, fd: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{fd}"))
        if "/tile" in str(path):
            try:
                self._step()
            except OSError:
                if path.is_file():
                    os.truncate(path, 0)  # the kernel dropped what it could not write, and will call it clean
                raise
        self._disk.sync(fd)

    def _step(self) -> None:
        if not self.well:
            self._left -= 1
            if self._left <= 0:
                raise OSError(28, "No space left on device")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._disk, name)


@pytest.mark.parametrize("after", range(1, 8))
def test_a_passing_error_of_the_disk_holds_appends_up_and_ends_nothing(open_log: Callable, after: int) -> None:
    disk = PassingError(after)
    with open_log(disk=disk) as log:
        log.append(RECORDS[0])
        log.settle()
        log.append(RECORDS[1])
        disk.well = False
        log._settle_or_wait()
        with pytest.raises(Unavailable, match="log-not-settled"):
            log.append(RECORDS[2])
        assert log.envelope(sha256(RECORDS[0])) == RECORDS[0], "readers go on"
        disk.well = True
        log._settle_or_wait()
        check(log, [*RECORDS[:2]])
        assert log.append(RECORDS[2]) == 2
        check(log, [*RECORDS[:3]])
    with open_log() as log:
        check(log, [*RECORDS[:3]])


def test_a_log_goes_on_by_itself_when_its_disk_is_well_again(open_log: Callable) -> None:
    disk = PassingError(1)
    with open_log(disk=disk) as log:
        disk.well = False
        log.append(RECORDS[0])
        wait_for("the log to find out", lambda: log._unsettled)
        disk.well = True
        wait_for("the log to go on", lambda: log._unsettled is None or None)
        assert log.append(RECORDS[1]) == 1


def test_a_contradiction_of_packs_and_tiles_is_no_passing_error(
    open_log: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_log() as log:
        log.append(RECORDS[0])
        with monkeypatch.context() as patch:
            patch.setattr(TileWriter, "settle", _contradicted)
            log._settle_or_wait()
        log._settle_or_wait()
        with pytest.raises(Tampered, match="log-batch-tree"):
            log.append(RECORDS[1])


def _contradicted(_writer: TileWriter) -> None:
    raise Tampered("log-batch-tree", "the batches do not make the tree they say")


def test_a_published_log_takes_no_append_before_its_witnesses_were_asked(open_log: Callable) -> None:
    with open_log() as log:
        for record in RECORDS[:4]:
            log.append(record)
        tree = log.settle()
        log.swap("checkpoint", None, note_of(tree))
    with open_log() as log:
        with pytest.raises(Unavailable, match="log-unconfirmed"):
            log.append(RECORDS[5])
        log.confirm(tree.size, tree.root)
        assert log.append(RECORDS[5]) == 4


def test_a_log_behind_its_witnesses_refuses_to_write_for_good(open_log: Callable) -> None:
    with open_log() as log:
        for record in RECORDS[:4]:
            log.append(record)
        with pytest.raises(Refused, match="log-behind-witnesses"):
            log.confirm(9, bytes(32))
        with pytest.raises(Refused, match="log-behind-witnesses"):
            log.append(RECORDS[5])


def test_a_log_that_witnesses_know_as_another_tree_refuses_to_write(open_log: Callable) -> None:
    with open_log() as log:
        for record in RECORDS[:4]:
            log.append(record)
        with pytest.raises(Tampered, match="log-fork"):
            log.confirm(3, bytes(32))
        with pytest.raises(Tampered, match="log-fork"):
            log.append(RECORDS[5])


def test_a_broken_pack_with_later_packs_is_tampering_and_stays_as_it_is(open_log: Callable, tmp_path: Path) -> None:
    with open_log(pack_bytes_max=PACK_OF_TWO) as log:
        for record in RECORDS:
            log.append(record)
    for leftover in (tmp_path / "index.sqlite", tmp_path / "log" / "derived"):
        leftover.unlink()
    packs = sorted((tmp_path / "log" / "envelopes").iterdir())
    assert len(packs) > 2
    for pack in packs[:-1]:
        whole = pack.read_bytes()
        pack.write_bytes(whole[:-5])
        with pytest.raises(Tampered, match="log-batch-altered"), open_log():
            pass
        with pytest.raises(Tampered, match="log-batch-altered"):
            verify_packs(tmp_path / "log", size_min=0)
        assert pack.read_bytes() == whole[:-5]
        pack.write_bytes(whole)
    verify_packs(tmp_path / "log", size_min=len(RECORDS))


@pytest.mark.parametrize(
    ("call", "before"),
    [
        pytest.param("open", 0, id="opening a file, while the log begins"),
        pytest.param("open", 3, id="opening a file, after another process appended"),
        pytest.param("fstat", 3, id="asking for a length, after another process appended"),
        pytest.param("pread", 3, id="reading, after another process appended"),
    ],
)
def test_a_machine_that_fails_at_the_nth_call_fails_who_waits_and_not_who_comes_later(
    open_log: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, before: int
) -> None:
    real = getattr(os, call)
    left = 0

    def failing(*words: Any, **named: Any) -> Any:
        nonlocal left
        if threading.current_thread().name == "log-commit":
            left -= 1
            if left == 0:
                raise OSError(24, "Too many open files")
        return real(*words, **named)

    fail_at, failed = 0, True
    while failed:
        fail_at += 1
        for leftover in sorted(tmp_path.rglob("*"), reverse=True):
            leftover.rmdir() if leftover.is_dir() else leftover.unlink()
        with open_log(pack_bytes_max=PACK_OF_TWO) as ours:
            for record in RECORDS[: min(before, 1)]:
                ours.append(record)
            ours.settle()
            with open_log(pack_bytes_max=PACK_OF_TWO) as theirs:
                for record in RECORDS[1:before]:
                    theirs.append(record)
            left = fail_at
            with monkeypatch.context() as patch:
                patch.setattr(os, call, failing)
                said = ""
                try:
                    assert ours.append(RECORDS[before]) == before
                except Unavailable as err:
                    said = err.code
            failed = left <= 0
            assert said == ("log-disk" if failed else "")
            assert [ours.append(record) for record in RECORDS[before : before + 2]] == [before, before + 1]
            check(ours, [*RECORDS[: before + 2]])
    assert fail_at > 2
