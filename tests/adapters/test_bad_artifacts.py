"""What has no place in an artifact is refused by name at every door that reads one, and nothing is changed by it."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from keyturn.adapters.files import settling
from keyturn.adapters.files.allowed_places import Allowed
from keyturn.adapters.files.attempt_files import hold_input
from keyturn.adapters.files.step_files import LocalStepFiles
from keyturn.app.custody.verify_model import verify_model
from keyturn.bulk import holes, manifest, walk
from keyturn.errors import KeyturnError
from support import commands
from support.chains import artifact

HUNDRED_GB = 100 << 30


def sparse(place: Path) -> None:
    with place.open("wb") as file:
        file.write(b"head")
        file.truncate(HUNDRED_GB)
        file.seek(HUNDRED_GB // 2)
        file.write(b"middle")


def bound(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        before = Path.cwd()
        os.chdir(place.parent)  # a path of a socket is short
        try:
            one.bind(place.name)
        finally:
            os.chdir(before)


def both(place: Path, one: str, other: str) -> None:
    (place / one).write_bytes(b"1")
    (place / other).write_bytes(b"2")


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "a link": (lambda at: (at / "bad").symlink_to("good"), "file-symlink"),
    "a link to nowhere": (lambda at: (at / "bad").symlink_to("/nowhere"), "file-symlink"),
    "a link to a directory": (lambda at: (at / "bad").symlink_to("/etc"), "file-symlink"),
    "a pipe": (lambda at: os.mkfifo(at / "bad"), "file-special"),
    "a socket": (lambda at: bound(at / "bad"), "file-special"),
    "names that fold by case": (lambda at: both(at, "Weights", "weights"), "path-folds"),
    "names that fold by Unicode": (lambda at: both(at, "caf\u00e9", "cafe\u0301"), "path-folds"),
    "a name that is not UTF-8": (
        lambda at: Path(os.fsdecode(os.fsencode(at) + b"/\xff")).write_bytes(b""),
        "path-invalid",
    ),
    "a name with a line break": (lambda at: (at / "a\nb").write_bytes(b""), "path-invalid"),
    "100 GB that nobody wrote": (lambda at: sparse(at / "bad"), "file-sparse"),
    "directories without end": (lambda at: (at / "/".join(["d"] * 70)).mkdir(parents=True), "directory-too-deep"),
}


@contextmanager
def local_files(work: Path) -> Iterator[LocalStepFiles]:
    allowed = Allowed((work,), (), ())
    with LocalStepFiles(base=work, destination=work / "made", allowed=allowed, memory=None, progress=None) as files:
        yield files


def as_input(work: Path, check: str) -> None:
    with local_files(work) as files:
        files.hold_input("bad", check)  # type: ignore[arg-type]  # one of its three


def as_output(work: Path) -> None:
    with local_files(work) as files:
        staging, _ = files.staging(None)
        os.rename(work / "bad", Path(staging, "model"))
        files.settle(["/out/model"])
        files.take_output("/out/model")


DOORS: dict[str, Callable[[Path], object]] = {
    "step digest": lambda work: manifest.make(work / "bad"),
    "an input of a step": lambda work: as_input(work, "full"),
    "a snapshot of an input": lambda work: as_input(work, "snapshot"),
    "an input of an attempt": lambda work: hold_input(work / "bad"),
    "an output of a step": as_output,
    "verify": lambda work: verify_model(work / "bad", artifact("model")),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("bad", BAD)
def test_a_bad_artifact_is_refused_by_name_at_every_door(tmp_path: Path, door: str, bad: str) -> None:
    spoil, code = BAD[bad]
    place = tmp_path / "bad"
    place.mkdir()
    (place / "good").write_bytes(b"good")
    spoil(place)
    before = sorted(os.listdir(place))
    with pytest.raises(KeyturnError) as caught:
        DOORS[door](tmp_path)
    assert caught.value.code == code
    if door == "an output of a step":
        assert os.listdir(tmp_path) == [], "an output that is refused is nowhere"
    else:
        assert os.listdir(tmp_path) == ["bad"], "no copy, and nothing published"
        assert sorted(os.listdir(place)) == before


def test_a_device_a_pipe_and_a_link_in_the_place_of_an_artifact_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/etc")
    for path, code in (
        (Path("/dev/zero"), "file-special"),
        (tmp_path / "pipe", "file-special"),
        (tmp_path / "link", "file-symlink"),
    ):
        with pytest.raises(KeyturnError, match=code):
            manifest.make(path)


def test_a_command_says_which_file_it_is_and_what_to_do(tmp_path: Path) -> None:
    sparse(tmp_path / "weights")
    error = commands.error_of(commands.keyturn("step", "digest", "weights", "--json", place=tmp_path, home=tmp_path))
    assert error["code"] == "file-sparse"
    assert "'weights' has 107374182400 bytes, of which " in error["message"]
    assert "cp --sparse=never" in error["hint"]


def test_ordinary_holes_are_bytes_like_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(3 << 20)
    written = tmp_path / "written"
    written.write_bytes(bytes(3 << 20))
    assert manifest.make(tmp_path / "a").files[0].sha256 == manifest.make(written).files[0].sha256
    monkeypatch.setattr(holes, "HOLES_BYTES_MAX", 5 << 20)
    manifest.make(tmp_path / "a")
    with pytest.raises(KeyturnError, match="file-sparse"):
        manifest.make(tmp_path)  # each is below the bound, and both are not
    (tmp_path / "b").write_bytes(bytes(3 << 20))
    manifest.make(tmp_path)


def test_a_private_copy_of_an_input_takes_no_more_room_than_the_input(tmp_path: Path) -> None:
    with (tmp_path / "bad").open("wb") as file:
        file.truncate(64 << 20)
        file.write(b"head")
    with local_files(tmp_path) as files:
        held = files.hold_input("bad", "snapshot")
        assert Path(held.place).stat().st_blocks * 512 < 1 << 20
        assert held.digest == manifest.make(tmp_path / "bad").identity
    assert os.listdir(tmp_path) == ["bad"]


def test_too_many_files_are_refused_before_any_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "FILES_MAX", 200)
    for number in range(201):
        (tmp_path / str(number)).write_bytes(b"")
    seen: list[int] = []
    with pytest.raises(KeyturnError, match="files-too-many"):
        manifest.make(tmp_path, progress=lambda done, _: seen.append(done))
    assert seen == []
    (tmp_path / "0").unlink()
    assert len(manifest.make(tmp_path).files) == 200
    for number in range(201):
        (tmp_path / f"empty-{number}").mkdir()
    with pytest.raises(KeyturnError, match="expected at most 200 directories, got more"):
        manifest.make(tmp_path)


def test_what_a_step_left_is_counted_before_a_million_files_are_made_durable_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "FILES_MAX", 100)
    with local_files(tmp_path) as files:
        staging, _ = files.staging(None)
        Path(staging, "model").mkdir()
        for number in range(202):
            Path(staging, "model", str(number)).mkdir(mode=0o500)
        with pytest.raises(KeyturnError, match="files-too-many"):
            files.settle(["/out/model"])
    assert os.listdir(tmp_path) == []


def test_every_file_that_changed_while_they_were_read_is_named_and_said_what_it_is(tmp_path: Path) -> None:
    for number in range(40):
        (tmp_path / f"{number:02}").write_bytes(b"1")
    (tmp_path / "last").write_bytes(bytes(1 << 20))  # the largest is read first
    once = threading.Event()

    def change(done: int, total: int) -> None:
        if not once.is_set():
            once.set()
            (tmp_path / "00").write_bytes(b"22")
            (tmp_path / "01").unlink()
            (tmp_path / "02-new").write_bytes(b"")

    with pytest.raises(KeyturnError) as caught:
        manifest.make(tmp_path, threads=1, progress=change)
    reasons = caught.value.reasons  # type: ignore[attr-defined]
    assert reasons == (
        ("file-changed", "'00' changed"),
        ("file-changed", "'01' is missing"),
        ("file-changed", "'02-new' is extra"),
    )
    for number in range(40):
        (tmp_path / f"{number:02}").write_bytes(b"3")
    once.clear()

    def remove(done: int, total: int) -> None:
        for path in tmp_path.iterdir():
            path.unlink()
            (tmp_path / "only").write_bytes(b"")

    with pytest.raises(KeyturnError) as caught:
        manifest.make(tmp_path, threads=1, progress=remove)
    reasons = caught.value.reasons  # type: ignore[attr-defined]
    assert len(reasons) == 21
    assert reasons[-1] == ("file-changed", "and 23 more"), "a list that somebody can read"


def test_who_gives_up_does_not_wait_for_the_end_of_a_long_file(tmp_path: Path) -> None:
    with (tmp_path / "long").open("wb") as file:
        file.truncate(30 << 30)  # a minute at the best
    seen: list[int] = []

    def give_up(done: int, total: int) -> None:
        seen.append(done)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        manifest.make(tmp_path, threads=2, progress=give_up)
    assert max(seen) < 1 << 30
