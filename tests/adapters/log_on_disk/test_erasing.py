"""Text is erased from packs in place: at no moment, and after no loss of power, is the log anything but whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from keyturn.adapters.log_on_disk import erasing
from keyturn.adapters.log_on_disk.disk import PosixDisk
from keyturn.adapters.log_on_disk.erasing import LogOnDiskEraser
from keyturn.adapters.log_on_disk.index_sqlite import IndexSqlite
from keyturn.adapters.log_on_disk.log import LogOnDisk
from keyturn.adapters.log_on_disk.pack import START, batches_from, pack_path, verify_packs
from keyturn.errors import Tampered, Unavailable
from keyturn.formats.digest import sha256
from keyturn.formats.records import leaf_of
from support.log_records import make_records

RECORDS = make_records(7)
DIGESTS = [sha256(record) for record in RECORDS]
GONE = (0, 3, 4)
ERASED = [range(n, n + 1) for n in GONE]


def filled(open_log: Callable, tmp_path: Path) -> Path:
    """A log of three packs, in batches of one and more."""
    with open_log(pack_bytes_max=3000) as log:
        log.append(RECORDS[0])
        log.append_leaves((raw, leaf_of(raw)) for raw in RECORDS[1:5])
        log.append_leaves((raw, leaf_of(raw)) for raw in RECORDS[5:])
    return tmp_path / "log"


def texts(directory: Path) -> list[bool]:
    """For each record, whether its bytes lie anywhere below `directory`."""
    everything = b"".join(path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file())
    return [record in everything for record in RECORDS]


def test_what_is_erased_is_nowhere_in_the_log_and_all_else_is(open_log: Callable, tmp_path: Path) -> None:
    directory = filled(open_log, tmp_path)
    with open_log() as log:
        before = log.settle()
    packs = {path: path.stat().st_size for path in directory.rglob("*.pack")}
    eraser = LogOnDiskEraser(directory)
    assert eraser.erase([DIGESTS[n] for n in GONE]) == 3
    assert eraser.erase([DIGESTS[n] for n in GONE]) == 0
    assert texts(directory) == [n not in GONE for n in range(7)]
    assert {path: path.stat().st_size for path in packs} == packs
    assert verify_packs(directory, size_min=7, faults=ERASED) == 7
    with open_log() as log:
        assert log.settle() == before
        for n, record in enumerate(RECORDS):
            if n in GONE:
                with pytest.raises(Unavailable, match="envelope-erased"):
                    log.envelope(DIGESTS[n])
            else:
                assert log.envelope(DIGESTS[n]) == record
        assert log.append(RECORDS[3]) == 3, "it is known, and does not come back"
    assert not texts(directory)[3]


def test_text_that_is_gone_without_a_tombstone_is_tampering(open_log: Callable, tmp_path: Path) -> None:
    directory = filled(open_log, tmp_path)
    LogOnDiskEraser(directory).erase([DIGESTS[3]])
    with pytest.raises(Tampered, match="log-leaf"):
        verify_packs(directory, size_min=7)


@pytest.mark.parametrize("survives", ["all", "nothing"], ids=["the process dies", "the power goes"])
@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.999])
def test_after_a_crash_at_any_operation_the_log_is_whole_and_the_same_again_erases_the_rest(
    open_log: Callable, failing_disk: Callable, tmp_path: Path, part: float, survives: str
) -> None:
    fail_at, finished = 0, False
    while not finished:
        fail_at += 1
        for leftover in sorted(tmp_path.rglob("*"), reverse=True):
            leftover.rmdir() if leftover.is_dir() else leftover.unlink()
        directory = filled(open_log, tmp_path)
        disk = failing_disk(fail_at=fail_at, part=part, survives=survives)
        try:
            LogOnDiskEraser(directory, disk=disk).erase([DIGESTS[n] for n in GONE])
            finished = True
        except Unavailable:
            assert disk.failed
        with open_log() as log:
            assert log.settle().size == 7
            assert [log.envelope(DIGESTS[n]) for n in (1, 2, 5, 6)] == [RECORDS[n] for n in (1, 2, 5, 6)]
            assert log.append(RECORDS[6]) == 6
        assert not (directory / "erasing").exists()
        assert verify_packs(directory, size_min=7, faults=ERASED) == 7
        LogOnDiskEraser(directory).erase([DIGESTS[n] for n in GONE])
        assert texts(directory) == [n not in GONE for n in range(7)]
    assert fail_at > 6


def test_a_log_that_is_being_erased_is_not_called_tampered_with(
    open_log: Callable, failing_disk: Callable, tmp_path: Path
) -> None:
    directory = filled(open_log, tmp_path)
    with pytest.raises(Unavailable, match="log-disk"):
        LogOnDiskEraser(directory, disk=failing_disk(fail_at=2, part=0.5)).erase([DIGESTS[3]])
    with pytest.raises(Unavailable, match="log-erasing"):
        verify_packs(directory, size_min=7, faults=ERASED)


def test_another_process_that_has_the_log_open_goes_on(open_log: Callable, tmp_path: Path) -> None:
    directory = tmp_path / "log"
    index = IndexSqlite(tmp_path / "index.sqlite")
    with LogOnDisk(directory, index) as log:
        for record in RECORDS[:4]:
            log.append(record)
        LogOnDiskEraser(directory).erase([DIGESTS[3]])
        assert [log.append(record) for record in RECORDS[4:]] == [4, 5, 6]
        assert log.settle().size == 7
    index.close()
    assert verify_packs(directory, size_min=7, faults=[range(3, 4)]) == 7


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(lambda raw: b"", id="nothing"),
        pytest.param(lambda raw: bytes(16) + raw[:60], id="a part of a batch"),
        pytest.param(lambda raw: bytes(15) + b"\x01" + raw, id="another place"),
        pytest.param(lambda raw: bytes(8) + b"\xff" * 8 + raw, id="no place"),
        pytest.param(lambda raw: b"\xff" * 8 + bytes(8) + raw, id="no pack"),
    ],
)
def test_a_journal_of_another_batch_is_not_written(
    open_log: Callable, tmp_path: Path, said: Callable[[bytes], bytes]
) -> None:
    directory = filled(open_log, tmp_path)
    before = pack_path(directory, 0).read_bytes()
    (after, _), *_ = batches_from(directory, START)
    (directory / "erasing").write_bytes(said(before[: after.size_bytes]))
    with pytest.raises(Tampered, match="log-erasing"):
        erasing.finish(PosixDisk(), directory)
    assert pack_path(directory, 0).read_bytes() == before


def test_what_a_crash_left_at_the_end_is_cut_before_anything_is_erased(open_log: Callable, tmp_path: Path) -> None:
    directory = filled(open_log, tmp_path)
    last = max(directory.rglob("*.pack"))
    last.write_bytes(last.read_bytes()[:-5])
    with pytest.raises(Unavailable, match="log-unfinished"):
        LogOnDiskEraser(directory).erase([DIGESTS[0]])
