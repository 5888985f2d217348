"""A gate's decisions on disk: in order, durable, whole after a crash, and altered ones are found."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from keyturn.adapters.files.decision_files import DecisionFiles
from keyturn.errors import Tampered, Unavailable
from keyturn.formats.decision import Decision

ONE = Decision(version=1, sequence=0, at=5, gate="keyturn://acme.example/gate/release", outcome="granted")


def kept(files: DecisionFiles, start: int = 0) -> list[int]:
    return [one.sequence for one in files.read(start=start)]


def test_decisions_are_numbered_and_read_from_anywhere(tmp_path: Path) -> None:
    files = DecisionFiles(tmp_path / "decisions", file_bytes_max=300)
    assert kept(files) == []
    for at in range(9):
        files.keep(msgspec.structs.replace(ONE, at=at))
    assert len(list((tmp_path / "decisions").glob("*.jsonl"))) > 2
    for start in range(11):
        assert kept(files, start) == list(range(start, 9))
    assert [one.at for one in files.read(start=7)] == [7, 8]


def test_the_next_process_goes_on_and_cuts_a_torn_line(tmp_path: Path) -> None:
    DecisionFiles(tmp_path).keep(ONE)
    (path,) = tmp_path.glob("*.jsonl")
    with path.open("ab") as file:
        file.write(b'{"at":1,"ga')
    assert kept(DecisionFiles(tmp_path)) == [0]
    DecisionFiles(tmp_path).keep(ONE)
    assert kept(DecisionFiles(tmp_path)) == [0, 1]


def test_files_that_were_removed_are_left_out(tmp_path: Path) -> None:
    files = DecisionFiles(tmp_path, file_bytes_max=1)
    for _ in range(4):
        files.keep(ONE)
    min(tmp_path.glob("*.jsonl")).unlink()
    assert kept(files) == [1, 2, 3]
    files.keep(ONE)
    assert kept(DecisionFiles(tmp_path)) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [(b'"granted"', b'"grunted"', "decisions-line"), (b'"sequence":1', b'"sequence":2', "decisions-order")],
)
def test_a_line_that_was_altered_or_moved_is_found(tmp_path: Path, old: bytes, new: bytes, code: str) -> None:
    files = DecisionFiles(tmp_path)
    files.keep(ONE)
    files.keep(ONE)
    (path,) = tmp_path.glob("*.jsonl")
    path.write_bytes(path.read_bytes().replace(old, new))
    with pytest.raises(Tampered) as caught:
        kept(files)
    assert caught.value.code == code


def test_what_cannot_be_written_is_said_and_written_once_it_can(tmp_path: Path) -> None:
    place = tmp_path / "decisions"
    place.write_text("in the way")
    files = DecisionFiles(place)
    with pytest.raises(Unavailable, match="decisions-unwritable"):
        files.keep(ONE)
    place.unlink()
    files.keep(ONE)
    assert kept(files) == [0]
