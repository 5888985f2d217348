"""What is hashed while it is written is what lies on the disk; a full disk and a changed file are said."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from keyturn.bulk import manifest
from keyturn.bulk.hash_while_writing import HashingFile
from keyturn.errors import Refused, Unavailable


@pytest.mark.parametrize(
    "sizes", [(), (0,), (1, 2, 3), (1 << 20,), (8 << 20,) * 3, (5, (9 << 20) + 7, 1, (1 << 20) - 1, 3)]
)
def test_what_is_hashed_is_what_lies_there(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    with HashingFile(tmp_path / "shard", "shard") as file:
        for size in sizes:
            buffer, blank = bytearray(os.urandom(size)), bytes(size)
            assert file.write(buffer) == size
            buffer[:] = blank  # a caller may use its buffer again
        assert file.tell() == sum(sizes)
        file.flush()
    assert manifest.contents(tmp_path).files == (file.hashed,)
    with pytest.raises(ValueError, match="closed"):
        file.write(b"more")
    with pytest.raises(FileExistsError):
        HashingFile(tmp_path / "shard", "shard")


def test_a_file_that_is_being_written_is_known_by_no_digest_yet(tmp_path: Path) -> None:
    with HashingFile(tmp_path / "shard", "shard") as file, pytest.raises(ValueError, match="closed"):
        _ = file.hashed


def test_a_full_disk_is_said_and_leaves_no_digest(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)], check=True)
    try:
        file = HashingFile(tmp_path / "shard", "shard")
        with pytest.raises(Unavailable, match="No space left"):
            file.write(bytes(4 << 20))
        file.close()
        with pytest.raises(ValueError, match="all of it was written"):
            _ = file.hashed
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def test_a_file_that_is_not_there_as_it_was_written_is_refused(tmp_path: Path) -> None:
    with HashingFile(tmp_path / "shard", "shard") as file:
        file.write(b"x" * 10)
    (tmp_path / "other").write_text("read, since nobody hashed it")
    made = manifest.contents(tmp_path, written={"shard": file.hashed})
    assert made == manifest.contents(tmp_path)
    assert made.identity == manifest.make(tmp_path).identity
    (tmp_path / "shard").write_bytes(b"y" * 11)
    with pytest.raises(Refused, match="has 11"):
        manifest.contents(tmp_path, written={"shard": file.hashed})
    (tmp_path / "shard").unlink()
    with pytest.raises(Refused, match="is not there"):
        manifest.contents(tmp_path, written={"shard": file.hashed})
