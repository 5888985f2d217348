"""Read files once and take the digests of what was read, on all cores.

Largest first, so that no thread is left with a big file at the end. Each file's status is the one that the walk saw, before it is
read and after, or it changed. A file that is more than its share of the work is read ahead by a companion of its thread, which
takes the second digest too; BLAKE3 alone takes as many threads as there are.

Files are read into buffers and not mapped: whoever truncates a mapped file ends the process that reads it.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, Protocol

from blake3 import blake3

from keyturn.bulk.walk import OPEN, OPEN_DIRECTORY, Found, changed, opened, status_of
from keyturn.errors import KeyturnError, Unavailable

__all__ = ["Algorithm", "Progress", "hash_all"]

Progress = Callable[[int, int], None]
"""Called with (bytes hashed, bytes in all), from any thread, often."""

Algorithm = Literal["sha256", "blake3"]

_CHUNK_BYTES = 1 << 20
_SPLIT_BYTES_MIN = 64 << 20
_ASIDE_BYTES = 112
"""How far from the beginning of a page a buffer begins: where page cache and buffer lie alike in their pages, a copy takes longer
(docs/decisions/0060-speed.md).
"""


class _Hash(Protocol):
    def update(self, data: memoryview, /) -> object: ...
    def hexdigest(self) -> str: ...


def hash_all(
    base: Path,
    found: Sequence[Found],
    digests: tuple[Algorithm, ...],
    *,
    threads: int,
    progress: Progress | None,
) -> tuple[tuple[str, ...], ...]:
    """Give `digests` of each of the files `found` below the directory `base`, in hex.

    Raises `Refused` `file-changed` for one that is not as it was found, `Unavailable` for one that cannot be read.
    """
    total = sum(file.size for file in found)
    queue = deque(sorted(range(len(found)), key=lambda i: -found[i].size))
    share = max(_SPLIT_BYTES_MIN, total // threads)
    tally = _Tally(total, progress)
    done: list[tuple[str, ...]] = [()] * len(found)
    stop = threading.Event()

    def work() -> None:
        reader = _Reader(base, digests, tally, stop)
        try:
            while not stop.is_set():
                try:
                    index = queue.popleft()
                except IndexError:
                    return
                done[index] = reader.read(found[index], threads=threads if found[index].size > share else 1)
        except _Stopped:
            return  # another thread says why
        except KeyturnError:
            stop.set()
            raise
        except OSError as err:
            stop.set()
            raise Unavailable("file-unreadable", f"a file below `{base}` cannot be read: {err.strerror}") from err
        finally:
            reader.close()

    if found:
        workers = min(threads, len(found))
        with ThreadPoolExecutor(workers, thread_name_prefix="keyturn-manifest") as pool:
            try:
                for future in [pool.submit(work) for _ in range(workers)]:
                    future.result()
            except BaseException:
                stop.set()  # whoever gives up (Ctrl-C) does not wait for the end of a file of hours
                raise
    return tuple(done)


class _Stopped(Exception):
    """A file was not read to its end, since something is wrong with another one, or nobody waits any more."""


class _Tally:
    """Bytes hashed so far, over all threads."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._lock = threading.Lock()
        self._done = 0
        self._total = total
        self._progress = progress

    def add(self, size: int) -> None:
        if self._progress is not None:
            with self._lock:
                self._done += size
                self._progress(self._done, self._total)


class _Reader:
    """Reads files one after the other into two buffers that it reuses; one per thread."""

    def __init__(self, base: Path, digests: tuple[Algorithm, ...], tally: _Tally, stop: threading.Event) -> None:
        self._stop = stop
        self._base = os.open(base, OPEN_DIRECTORY)
        self._directory = ("", self._base)
        self._digests = digests
        self._tally = tally
        self._memory = mmap.mmap(-1, _ASIDE_BYTES + 2 * _CHUNK_BYTES)
        view = memoryview(self._memory)[_ASIDE_BYTES:]
        self._buffers = (view[:_CHUNK_BYTES], view[_CHUNK_BYTES:])
        self._companion: ThreadPoolExecutor | None = None

    def close(self) -> None:
        self._leave_directory()
        os.close(self._base)
        if self._companion is not None:
            self._companion.shutdown()

    def read(self, file: Found, *, threads: int) -> tuple[str, ...]:
        """Give the digests of `file`, on as many of `threads` as help."""
        parent, _, name = file.path.rpartition("/")
        hashes = tuple(_new(one, threads=threads if len(self._digests) == 1 else 1) for one in self._digests)
        with opened(name, OPEN | os.O_NONBLOCK, self._enter_directory(parent)) as descriptor:
            if status_of(os.fstat(descriptor)) != file.status:
                raise changed(file.path)
            size = (self._ahead if threads > 1 else self._straight)(descriptor, hashes)
            if self._stop.is_set():
                raise _Stopped
            if status_of(os.fstat(descriptor)) != file.status or size != file.size:
                raise changed(file.path)
        return tuple(one.hexdigest() for one in hashes)

    def _straight(self, descriptor: int, hashes: Sequence[_Hash]) -> int:
        size, buffer = 0, self._buffers[0]
        while not self._stop.is_set() and (count := os.readv(descriptor, [buffer])):
            chunk = buffer[:count]
            for one in hashes:
                one.update(chunk)
            size += count
            self._tally.add(count)
        return size

    def _ahead(self, descriptor: int, hashes: Sequence[_Hash]) -> int:
        # The companion takes the other digest of a chunk and reads the next one, while this thread takes the first.
        if self._companion is None:
            self._companion = ThreadPoolExecutor(1, thread_name_prefix="keyturn-ahead")
        first, others = hashes[0], hashes[1:]
        size, turn = 0, 0
        count = os.readv(descriptor, [self._buffers[0]])

        def ahead(chunk: memoryview, spare: memoryview) -> int:
            for one in others:
                one.update(chunk)
            return os.readv(descriptor, [spare])

        while count and not self._stop.is_set():
            chunk = self._buffers[turn][:count]
            turn = 1 - turn
            following = self._companion.submit(ahead, chunk, self._buffers[turn])
            first.update(chunk)
            size += count
            self._tally.add(count)
            count = following.result()
        return size

    def _enter_directory(self, path: str) -> int:
        """Open `path` below the base, segment by segment and never through a link; the last one stays open."""
        if path != self._directory[0]:
            self._leave_directory()
            descriptor = self._base
            for segment in path.split("/") if path else ():
                try:
                    inner = os.open(segment, OPEN_DIRECTORY, dir_fd=descriptor)
                except OSError as err:
                    raise changed(path) from err
                finally:
                    if descriptor != self._base:
                        os.close(descriptor)
                descriptor = inner
            self._directory = (path, descriptor)
        return self._directory[1]

    def _leave_directory(self) -> None:
        if self._directory[1] != self._base:
            os.close(self._directory[1])
        self._directory = ("", self._base)


def _new(algorithm: Algorithm, *, threads: int) -> _Hash:
    return hashlib.sha256() if algorithm == "sha256" else blake3(max_threads=threads)
