"""Write a file and take the SHA-256 of what is written, in the same pass, on a thread of its own beside the writing.

Checkpoints are large, and reading one back to hash it doubles what its disk has to do. What is hashed is what the writer handed
over: that the disk kept it, whoever reads the file later finds out. Bytes are written in order and once; there is no seeking.

A write returns when its bytes were written and hashed, so a caller may use its buffer again. Small writes are gathered into
buffers of our own, and for these it does not wait: hashing is one of them behind at most.
"""

from __future__ import annotations

import hashlib
import io
import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Self

from keyturn.errors import Unavailable
from keyturn.formats.manifest import HashedFile

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["HashingFile"]

_GATHER_BYTES = 1 << 20
_CHUNK_BYTES = 8 << 20


class HashingFile(io.RawIOBase):
    """A new file at `path`, known in its manifest as `name`. After `close` it is durable, and `hashed` says what it holds.

    Raises what `open` raises for a path that is taken; `Unavailable` `file-unwritable` when the disk does not take it.
    """

    def __init__(self, path: Path, name: str) -> None:
        super().__init__()
        self._name = name
        self._file: BinaryIO = path.open("xb", buffering=0)
        self._gathered = bytearray()
        self._size = 0
        self._sha = hashlib.sha256()
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="keyturn-hash")
        self._hashing: Future[None] | None = None
        self._hashed: HashedFile | None = None
        self._broken = False

    @property
    def hashed(self) -> HashedFile:
        """Path, size and SHA-256 of what was written; once the file is closed without an error."""
        if self._hashed is None:
            raise ValueError("expected a file that was closed after all of it was written")
        return self._hashed

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        view = memoryview(data).cast("B")
        if self.closed:
            raise ValueError("write to a closed file")
        self._size += len(view)
        if len(self._gathered) + len(view) < _GATHER_BYTES:
            self._gathered += view
            return len(view)
        self._pour()
        try:
            for start in range(0, len(view), _CHUNK_BYTES):
                self._take(view[start : start + _CHUNK_BYTES])
        finally:
            self._await_hashed()  # the buffer is the caller's
        return len(view)

    def tell(self) -> int:
        return self._size

    def fileno(self) -> int:
        return self._file.fileno()

    def flush(self) -> None:
        if not self.closed:
            self._pour()

    def close(self) -> None:
        """Write what is gathered, make the file durable, and say what it holds."""
        if self.closed:
            return
        try:
            self._pour()
            os.fsync(self._file.fileno())
            self._await_hashed()
            if self._broken:
                return  # something before was not written: there is no digest of what lies there
            self._hashed = HashedFile(path=self._name, size=self._size, sha256=self._sha.hexdigest())
        except OSError as err:
            raise _unwritable(self._name, err) from err
        finally:
            self._beside.shutdown()
            self._file.close()
            super().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _pour(self) -> None:
        if self._gathered:
            self._take(memoryview(self._gathered))
            self._gathered = bytearray()

    def _take(self, chunk: memoryview) -> None:
        self._await_hashed()
        self._hashing = self._beside.submit(self._sha.update, chunk)
        rest = chunk
        try:
            while rest:
                rest = rest[self._file.write(rest) or 0 :]
        except OSError as err:
            self._broken = True
            raise _unwritable(self._name, err) from err

    def _await_hashed(self) -> None:
        if self._hashing is not None:
            self._hashing.result()
            self._hashing = None


def _unwritable(name: str, err: OSError) -> Unavailable:
    return Unavailable("file-unwritable", f"`{name}` cannot be written: {err.strerror}", hint="free space there")
