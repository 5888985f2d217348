"""Digests of runtimes: links and modes count, nothing is taken from a status that could lie, and memory is authenticated."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from keyturn.adapters.files.runtime_memory import RuntimeMemory
from keyturn.bulk import runtime
from keyturn.bulk.runtime import SETTLED_NS, make
from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import KeyturnError, Refused, Unavailable
from support.power import Power

OLD_NS = 1_600_000_000_000_000_000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    place = tmp_path / "runtime"
    (place / "bin").mkdir(parents=True)
    (place / "bin" / "tool").write_bytes(b"#!/bin/sh\n")
    (place / "bin" / "alias").symlink_to("tool")
    (place / "lib.so").write_bytes(b"lib")
    return place


def test_the_digest_is_of_the_listing_that_the_documentation_gives(root: Path) -> None:
    import hashlib

    def line(kind: str, content: bytes, path: str) -> str:
        return f'{kind}  {hashlib.sha256(content).hexdigest()}  "{path}"\n'

    (root / "bin" / "tool").chmod(0o755)
    listing = line("l", b"tool", "bin/alias") + line("x", b"#!/bin/sh\n", "bin/tool") + line("f", b"lib", "lib.so")
    assert make(root, {}).digest.hex == hashlib.sha256(listing.encode()).hexdigest()


@pytest.mark.parametrize("change", ["content", "executable", "target", "link to file", "name", "more", "less"])
def test_every_change_changes_the_digest(root: Path, change: str) -> None:
    before = make(root, {})
    match change:
        case "content":
            (root / "lib.so").write_bytes(b"evil")
        case "executable":
            (root / "bin" / "tool").chmod(0o755)
        case "target":
            (root / "bin" / "alias").unlink()
            (root / "bin" / "alias").symlink_to("/bin/sh")
        case "link to file":
            (root / "bin" / "alias").unlink()
            (root / "bin" / "alias").write_bytes(b"tool")
        case "name":
            (root / "lib.so").rename(root / "lib2.so")
        case "more":
            (root / "x").write_bytes(b"")
        case "less":
            (root / "lib.so").unlink()
    assert make(root, before.entries).digest != before.digest


def test_the_same_content_at_another_place_has_the_same_digest(root: Path) -> None:
    before = make(root, {}).digest
    moved = root.rename(root.with_name("elsewhere"))
    assert make(moved, {}).digest == before


def test_a_status_that_just_changed_stands_for_nothing(root: Path) -> None:
    entries = make(root, {}).entries
    assert not any(entry.settled for entry in entries.values())


def test_a_settled_file_is_not_read_again_and_an_unsettled_one_is(root: Path) -> None:
    from dataclasses import replace

    entries = make(root, {}).entries
    lie = {path: replace(entry, digest="0" * 64) for path, entry in entries.items()}
    assert make(root, lie).digest == make(root, {}).digest
    settled = {path: replace(entry, settled=True) for path, entry in lie.items()}
    assert make(root, settled).digest != make(root, {}).digest


def test_backdating_a_file_does_not_settle_it(root: Path) -> None:
    os.utime(root / "lib.so", ns=(OLD_NS, OLD_NS))  # its ctime is now, whatever its mtime says
    assert not make(root, {}).entries["lib.so"].settled
    assert SETTLED_NS > 0


def test_a_pipe_has_no_place_in_a_runtime_and_an_empty_one_is_none(root: Path, tmp_path: Path) -> None:
    (tmp_path / "void").mkdir()
    with pytest.raises(Refused):
        make(tmp_path / "void", {})
    with pytest.raises(Unavailable):
        make(tmp_path / "missing", {})
    os.mkfifo(root / "p")
    with pytest.raises(Refused):
        make(root, {})


def test_one_file_can_be_a_runtime(root: Path) -> None:
    assert list(make(root / "lib.so", {}).entries) == [""]


def test_memory_that_somebody_else_wrote_is_ignored(root: Path, tmp_path: Path) -> None:
    key, other = SoftwareKey.generate(), SoftwareKey.generate()
    place = tmp_path / "memory"
    found = make(root, {})
    RuntimeMemory(place, key.sign).keep(root, found.entries)
    assert RuntimeMemory(place, key.sign).recall(root) == found.entries
    assert RuntimeMemory(place, other.sign).recall(root) == {}
    assert RuntimeMemory(place, key.sign).recall(root.parent) == {}
    (file,) = place.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    raw = file.read_bytes()
    for changed in (raw[:-1], raw.replace(b"lib.so", b"lib.xx"), b"", b"\n", raw[130:]):
        file.write_bytes(changed)
        assert RuntimeMemory(place, key.sign).recall(root) == {}


def test_memory_outlives_a_loss_of_power(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "builder"
    place.mkdir()
    memory, found = RuntimeMemory(place / "memory", SoftwareKey.generate().sign), make(root, {})
    with Power(place, monkeypatch) as power:
        memory.keep(root, found.entries)
        power.cut()
    assert memory.recall(root) == found.entries


def test_memory_that_cannot_be_kept_leaves_what_was_known_and_nothing_else(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, found = RuntimeMemory(tmp_path / "memory", SoftwareKey.generate().sign), make(root, {})
    memory.keep(root, found.entries)

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unavailable, match="memory-unwritable"):
        memory.keep(root, {})
    assert memory.recall(root) == found.entries
    assert len(list((tmp_path / "memory").iterdir())) == 1
    assert (tmp_path / "memory").stat().st_mode & 0o777 == 0o700


def test_a_change_while_it_is_read_is_refused_at_the_latest_when_looked_at_again(root: Path) -> None:
    before = runtime.look(root)
    (root / "lib.so").write_bytes(b"evil")
    assert runtime.look(root) != before
    assert issubclass(Refused, KeyturnError)
