"""Other processes open and verify a log at every moment of its first entries and its first signature, and find it as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from keyturn.adapters.log_on_disk.checkpoint_files import CheckpointFiles, body_of, read_note
from keyturn.adapters.log_on_disk.disk import PosixDisk
from keyturn.adapters.log_on_disk.index_sqlite import IndexSqlite
from keyturn.adapters.log_on_disk.log import LogOnDisk
from keyturn.adapters.log_on_disk.pack import pack_path, verify_packs
from keyturn.errors import Tampered
from keyturn.formats.checkpoint import Checkpoint
from keyturn.tlog import merkle
from support.log_records import make_records, note_of

RECORDS = make_records(4)


def write(log: LogOnDisk) -> None:
    """What founds a lab and starts its service: two entries, signed, and two more, signed."""
    log.confirm(0, merkle.EMPTY_ROOT)
    old = None
    for two in (RECORDS[:2], RECORDS[2:]):
        for record in two:
            log.append(record)
        new = note_of(log.settle())
        log.swap("signed", old, new)
        old = new


class Watched(PosixDisk):
    """Calls `look` before and after each operation."""

    def __init__(self, look: Callable[[], object]) -> None:
        self._look = look

    def append(self, fd: int, raw: bytes, *, at: int) -> None:
        for start in range(0, len(raw), 100):  # as a reader sees a write that is under way
            super().append(fd, raw[start : start + 100], at=at + start)
            self._look()

    def create(self, path: Path) -> None:
        self._look()
        super().create(path)
        self._look()

    def replace(self, path: Path, raw: bytes, *, durable: bool) -> None:
        self._look()
        super().replace(path, raw, durable=durable)
        self._look()


def test_whoever_verifies_beside_a_writer_finds_what_the_log_signed_at_every_moment(tmp_path: Path) -> None:
    seen: set[tuple[int, int]] = set()

    def look() -> None:
        note = read_note(tmp_path / "log", "signed")  # first: what is signed is in the packs since
        size = 0 if note is None else body_of("signed", note).size
        seen.add((size, verify_packs(tmp_path / "log", size_min=size)))

    index = IndexSqlite(tmp_path / "index.sqlite")
    with LogOnDisk(tmp_path / "log", index, disk=Watched(look)) as log:
        write(log)
    index.close()
    assert {(0, 0), (0, 1), (0, 2), (2, 2), (2, 3), (2, 4), (4, 4)} <= seen


@pytest.mark.parametrize("moment", ["before both are read", "between the two", "once both are read"])
def test_whoever_opens_a_log_while_another_process_founds_and_signs_it_is_not_told_that_it_lost_entries(
    tmp_path: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The notes are read before the entries: what another process appends and signs meanwhile is only ever more than they say."""
    other = IndexSqlite(tmp_path / "index.sqlite")
    writer = LogOnDisk(tmp_path / "log", other)
    read, calls = CheckpointFiles.read_body, [0]

    def read_body(notes: CheckpointFiles, which: str) -> Checkpoint | None:
        if notes is writer._notes:
            return read(notes, which)  # type: ignore[arg-type]  # as it came
        calls[0] += 1
        if calls[0] == {"before both are read": 1, "between the two": 2}.get(moment, 0):
            write(writer)
        found = read(notes, which)  # type: ignore[arg-type]  # as it came
        if moment == "once both are read" and calls[0] == 2:
            write(writer)
        return found

    monkeypatch.setattr(CheckpointFiles, "read_body", read_body)
    index = IndexSqlite(tmp_path / "index.sqlite")
    with LogOnDisk(tmp_path / "log", index) as log:
        assert log.size == 4
    writer.close()
    index.close()
    other.close()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        pytest.param(lambda pack: pack.unlink(), "No such file or directory", id="it is gone"),
        pytest.param(lambda pack: pack.write_bytes(b""), "has 0 bytes, and the intact ones end at byte 0", id="empty"),
        pytest.param(lambda pack: pack.write_bytes(bytes(500)), "has 500 bytes, and the intact ones", id="broken"),
    ],
)
def test_a_log_that_lost_what_it_signed_says_what_lies_there(
    tmp_path: Path, spoil: Callable[[Path], object], said: str
) -> None:
    index = IndexSqlite(tmp_path / "index.sqlite")
    with LogOnDisk(tmp_path / "log", index) as log:
        write(log)
    index.close()
    spoil(pack_path(tmp_path / "log", 0))
    with pytest.raises(Tampered, match="log-behind-checkpoint") as caught:
        verify_packs(tmp_path / "log", size_min=4)
    assert f"pack `{0:016d}.pack`" in caught.value.message
    assert said in caught.value.message
