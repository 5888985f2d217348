"""Hash the shards of PyTorch's Distributed Checkpoint while they are written.

    with step.checkpoint("step-1000") as checkpoint:
        torch.distributed.checkpoint.save(state, storage_writer=HashingWriter(checkpoint))

Every rank does so. Shards are hashed as they leave memory; the small file `.metadata`, which DCP renames when it is whole, is
read by the first rank. Needs PyTorch 2.4 or later, which Keyturn does not install.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch.distributed.checkpoint import FileSystemWriter
from torch.distributed.checkpoint.filesystem import FileSystem

from keyturn.sdk.step import Checkpoint

__all__ = ["HashingWriter"]

_SHARD = ".distcp"


class HashingWriter(FileSystemWriter):  # type: ignore[misc]  # without torch, it is Any to mypy
    """DCP's own writer to the directory of `checkpoint`; `options` are those of `FileSystemWriter`, as `single_file_per_rank`."""

    def __init__(self, checkpoint: Checkpoint, **options: Any) -> None:
        super().__init__(checkpoint.path, **options)
        self.fs = _Hashing(checkpoint)


class _Hashing(FileSystem):  # type: ignore[misc]  # without torch, it is Any to mypy
    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint

    @contextmanager
    def create_stream(self, path: str | os.PathLike[str], mode: str) -> Iterator[io.IOBase]:
        place = Path(path)
        if mode != "wb" or place.suffix != _SHARD:
            with super().create_stream(path, mode) as stream:
                yield stream
            return
        with self._checkpoint.open(place.relative_to(self._checkpoint.path).as_posix()) as file:
            yield file
