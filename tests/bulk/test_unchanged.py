"""What is loaded is what was verified: every way to put something else there, also for a moment, is seen."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from keyturn.adapters.clock import pause
from keyturn.bulk.unchanged import look, unchanged
from keyturn.errors import Refused


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for version, text in (("v1", "released"), ("v2", "another")):
        (tmp_path / version / "model" / "shards").mkdir(parents=True)
        (tmp_path / version / "model" / "shards" / "0").write_text(text)
        (tmp_path / version / "model" / "config").write_text(text)
    (tmp_path / "current").symlink_to("v1")
    return tmp_path


def swapped(one: Path, other: Path) -> None:
    aside = one.with_name("aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def moved(place: Path) -> None:
    (place / "current").unlink()
    (place / "current").symlink_to("v2")


def in_place(place: Path) -> None:
    config = place / "v1" / "model" / "config"
    before = config.stat()
    config.write_text("changed!")
    config.write_text("released")
    os.utime(config, ns=(before.st_atime_ns, before.st_mtime_ns))


def added(place: Path) -> None:
    extra = place / "v1" / "model" / "shards" / "evil.py"
    extra.write_text("")
    extra.unlink()


def twice(one: str, other: str) -> Callable[[Path], None]:
    def there_and_back(place: Path) -> None:
        for _ in range(2):
            swapped(place / "v1" / one, place / "v2" / other)

    return there_and_back


CHANGES: dict[str, Callable[[Path], None]] = {
    "a byte, and back with the time it had": in_place,
    "a file for a moment": added,
    "a file swapped, and back": twice("model/config", "model/config"),
    "a directory swapped, and back": twice("model/shards", "model/shards"),
    "a file that stays": lambda place: (place / "v1" / "model" / "more").write_text(""),
    "a file in place of a directory": lambda place: swapped(
        place / "v1" / "model" / "shards", place / "v2" / "model" / "config"
    ),
    "a link that stays": lambda place: (place / "v1" / "model" / "link").symlink_to("config"),
    "the whole, swapped and back": twice("model", "model"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_before_or_while_it_is_loaded_is_seen(place: Path, change: str) -> None:
    seen = look(place / "current" / "model", pause=pause)
    with pytest.raises(Refused, match="file-changed"), unchanged(seen) as path:
        assert (path / "shards" / "0").read_text() == "released"
        CHANGES[change](place)
    with pytest.raises(Refused, match="file-changed"), unchanged(seen):
        raise AssertionError("it does not come to this")


def test_links_and_directories_above_the_files_lead_nowhere_else(place: Path) -> None:
    seen = look(place / "current" / "model", pause=pause)
    assert seen.root == place / "v1" / "model"
    moved(place)
    with unchanged(seen) as path:
        swapped(place / "v1", place / "v2")
        assert (place / "v1" / "model" / "config").read_text() == "another"
        assert (path / "config").read_text() == "released"
        read = f"import pathlib; print(pathlib.Path({str(path / 'shards' / '0')!r}).read_text())"
        by_a_child = subprocess.run([sys.executable, "-c", read], check=True, capture_output=True, text=True)
        assert by_a_child.stdout == "released\n"
        swapped(place / "v1", place / "v2")
    assert not path.exists()


def test_a_lone_file_is_held_as_well(place: Path) -> None:
    config = place / "current" / "model" / "config"
    seen = look(config, pause=pause)
    with unchanged(seen) as path:
        assert (path.name, path.read_text()) == ("config", "released")
    with pytest.raises(Refused, match="file-changed"), unchanged(seen):
        swapped(place / "v1" / "model" / "config", place / "v2" / "model" / "config")
        swapped(place / "v1" / "model" / "config", place / "v2" / "model" / "config")
    with pytest.raises(Refused, match="file-symlink"):
        look(place / "current", pause=pause)


def test_what_fails_within_is_told_as_what_it_is_and_what_is_gone_is_changed(place: Path) -> None:
    seen = look(place / "v1" / "model", pause=pause)
    with pytest.raises(ValueError, match="no weights"), unchanged(seen):
        raise ValueError("no weights")
    swapped(place / "v1" / "model", place / "v2" / "model")
    (place / "v1" / "model").rename(place / "gone")
    with pytest.raises(Refused, match="file-changed"), unchanged(seen):
        raise AssertionError("it does not come to this")


def test_files_are_looked_at_once_their_times_can_tell_changes_apart(place: Path) -> None:
    config = place / "v1" / "model" / "config"
    waited: list[float] = []

    def meanwhile(seconds: float) -> None:
        waited.append(seconds)
        config.write_text("released")

    with pytest.raises(Refused, match="without end"):
        look(place / "v1" / "model", pause=meanwhile)
    assert len(waited) == 20
