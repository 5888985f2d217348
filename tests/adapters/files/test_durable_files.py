"""Small files: there whole or not at all, under their name only once they are synced, and nothing left in the way."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from keyturn.adapters.files import durable_files
from support.power import Power


def names(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir())


def test_create_makes_a_file_with_its_mode_and_never_replaces(tmp_path: Path) -> None:
    place = tmp_path / "file"
    durable_files.create(place, b"one", mode=0o600)
    with pytest.raises(FileExistsError):
        durable_files.create(place, b"two", mode=0o600)
    assert place.read_bytes() == b"one"
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert names(tmp_path) == ["file"]


def test_replace_puts_the_new_content_whatever_was_there(tmp_path: Path) -> None:
    place = tmp_path / "file"
    durable_files.replace(place, b"one", mode=0o644)
    durable_files.replace(place, b"two", mode=0o644)
    assert place.read_bytes() == b"two"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("write", [durable_files.create, durable_files.replace])
def test_a_link_in_the_place_is_never_written_through(tmp_path: Path, write: Callable[..., None]) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"kept")
    (tmp_path / "file").symlink_to(victim)
    try:
        write(tmp_path / "file", b"new", mode=0o644)
    except FileExistsError:
        assert write is durable_files.create
    assert victim.read_bytes() == b"kept"


@pytest.mark.parametrize("write", [durable_files.create, durable_files.replace])
def test_a_write_that_fails_leaves_what_was_there_and_nothing_else(tmp_path: Path, write: Callable[..., None]) -> None:
    place = tmp_path / "file"
    place.write_bytes(b"kept")
    with pytest.raises(NotADirectoryError):
        write(place / "below", b"new", mode=0o644)
    (tmp_path / "full").mkdir()
    with pytest.raises(OSError, match="File name too long"):
        write(tmp_path / "full" / ("x" * 300), b"new", mode=0o644)
    assert names(tmp_path / "full") == []
    (tmp_path / "full").rmdir()
    assert place.read_bytes() == b"kept"
    assert names(tmp_path) == ["file"]


def test_of_many_who_create_one_file_one_does(tmp_path: Path) -> None:
    place = tmp_path / "file"

    def attempt(number: int) -> bool:
        try:
            durable_files.create(place, b"%d" % number, mode=0o600)
        except FileExistsError:
            return False
        return place.read_bytes() == b"%d" % number

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(64))) == 1
    assert names(tmp_path) == ["file"]


def test_many_who_replace_one_file_leave_one_of_theirs_whole(tmp_path: Path) -> None:
    place = tmp_path / "file"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: durable_files.replace(place, b"%d" % n * 4096, mode=0o644), range(64)))
    assert place.read_bytes() in {b"%d" % n * 4096 for n in range(64)}
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("write", [durable_files.create, durable_files.replace])
def test_what_was_written_outlives_a_loss_of_power_in_directories_that_were_not_there(
    tmp_path: Path, power: Power, write: Callable[..., None]
) -> None:
    place = tmp_path / "lab" / "gate" / "state" / "file"
    write(place, b"one", mode=0o600)
    power.cut()
    assert place.read_bytes() == b"one"
    assert names(place.parent) == ["file"]


def test_a_replacement_outlives_a_loss_of_power(tmp_path: Path, power: Power) -> None:
    place = tmp_path / "file"
    durable_files.replace(place, b"one", mode=0o644)
    durable_files.replace(place, b"two", mode=0o644)
    power.cut()
    assert place.read_bytes() == b"two"


def test_a_directory_that_somebody_made_and_died_before_its_name_was_durable_is_made_so(
    tmp_path: Path, power: Power
) -> None:
    place = tmp_path / "state" / "file"
    place.parent.mkdir()
    durable_files.create(place, b"one", mode=0o600)
    power.cut()
    assert place.read_bytes() == b"one"


def test_a_directory_is_made_with_its_mode_and_those_around_it_without(tmp_path: Path) -> None:
    durable_files.make_directories(tmp_path / "a" / "b", mode=0o700)
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o777 & ~umask()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: durable_files.make_directories(tmp_path / "c" / "d" / "e"), range(64)))
    assert (tmp_path / "c" / "d" / "e").is_dir()


def umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
