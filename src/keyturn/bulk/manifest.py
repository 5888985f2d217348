"""Hash a directory or a file into a manifest: SHA-256 and BLAKE3 of every file, in one pass, on all cores.

What is hashed is what was there, or nothing is returned: symlinks, special files, names that are not UTF-8 or fold to one,
and anything that changes while it is read are refused. Every open goes through directory descriptors without following
links, so that a path cannot be swapped for a link between looking and reading.

1. walk: list every file with its status (device, inode, size, times);
2. read: each file once, both digests from the same bytes, status before and after equal to the listing;
3. walk again: the same listing, or the artifact changed while it was read.

This is NOT where a manifest is judged: callers compare `manifest.identity` with what they expected.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import stat
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from blake3 import blake3

from keyturn.bulk.differences import differences
from keyturn.bulk.holes import Holes
from keyturn.bulk.threads import cores
from keyturn.errors import KeyturnError, Malformed, Refused, Unavailable, Usage
from keyturn.formats.manifest import FILES_MAX, Manifest, ManifestFile, check_names

__all__ = ["Found", "Progress", "look", "make", "walk"]

Progress = Callable[[int, int], None]
"""Called with (bytes hashed, bytes in all), from any thread, often."""

_CHUNK_BYTES = 512 << 10
_SPLIT_BYTES_MIN = 64 << 20
_DEPTH_MAX = 64
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_DIRECTORY = _OPEN | os.O_DIRECTORY


@dataclass(frozen=True, slots=True)
class Found:
    """A regular file as the walk saw it. `status` changes whenever its content does."""

    path: str
    size: int
    status: tuple[int, int, int, int, int, int]


def make(
    root: Path,
    *,
    threads: int | None = None,
    progress: Progress | None = None,
    written: Mapping[str, ManifestFile] = MappingProxyType({}),
) -> Manifest:
    """Hash the directory or regular file `root`.

    Files in `written`, by path, were hashed while they were written (`bulk.hash_while_writing`), and are not read again: only
    that they are there with that size is looked at.

    Raises `Refused` for what has no place in an artifact, `Malformed` for names, `Unavailable` when it cannot be read.
    """
    found = look(root)  # (1)
    kind: Literal["directory", "file"] = "directory" if root.is_dir() else "file"
    base = root if kind == "directory" else root.parent
    _require_written(written, found)
    unread = tuple(file for file in found if file.path not in written)
    try:
        hashed = {file.path: file for file in _hash_all(base, unread, threads or cores(), progress)}  # (2)
    except Refused as err:
        raise (_all_changed(root, found) or err) from err
    files = tuple(written.get(file.path) or hashed[file.path] for file in found)
    if changed := _all_changed(root, found):  # (3)
        raise changed
    return Manifest(kind=kind, files=files)


def _all_changed(root: Path, before: tuple[Found, ...]) -> Refused | None:
    """Name every file that is not as it was when it was listed, if there is one."""
    after = look(root)
    if after == before:
        return None
    wrong = differences({file.path: file for file in before}, {file.path: file for file in after})
    return Refused(
        "file-changed",
        f"`{root}` changed while it was read: {wrong[0]}" + (", and others" if len(wrong) > 1 else ""),
        reasons=tuple(("file-changed", one) for one in wrong),
        hint="stop whatever writes there, then try again",
    )


def _require_written(written: Mapping[str, ManifestFile], found: tuple[Found, ...]) -> None:
    sizes = {file.path: file.size for file in found}
    for path, file in written.items():
        if sizes.get(path) != file.size:
            raise Refused(
                "file-changed",
                f"{path!r} was written with {file.size} bytes, and {_held(sizes.get(path))}",
                hint="find out what else writes there; then write it again",
            )


def _held(size: int | None) -> str:
    return "is not there" if size is None else f"has {size}"


def look(root: Path) -> tuple[Found, ...]:
    """List the regular files of the directory `root`, or the one file that it is; the same listing means nothing changed."""
    try:
        status = root.lstat()
    except OSError as err:
        if isinstance(err, FileNotFoundError | NotADirectoryError):
            raise Usage(
                "artifact-missing",
                f"expected a file or directory at `{root}`: {err.strerror}",
                hint="type the path of one that is there, or its digest where a command takes that",
            ) from err
        raise Unavailable(
            "file-unreadable", f"cannot read `{root}`: {err.strerror}", hint="look at its owner and mode: ls -l"
        ) from err
    if stat.S_ISDIR(status.st_mode):
        return walk(root)
    if stat.S_ISREG(status.st_mode):
        check_names([_decoded(root.name)])
        Holes().add(root.name, os.fspath(root), None, status)
        return (Found(root.name, status.st_size, _status(status)),)
    raise Refused("file-special", f"expected a directory or a regular file, `{root}` is neither")


def walk(root: Path) -> tuple[Found, ...]:
    """List every regular file below the directory `root`, in order of the paths' bytes; refuse everything else."""
    found: list[Found] = []
    with _opened(os.fspath(root), _OPEN_DIRECTORY, None) as descriptor:
        _walk_into(found, Holes(), descriptor, "", 0)
    found.sort(key=lambda file: file.path.encode("utf-8"))
    check_names(file.path for file in found)
    if not found:
        raise Malformed("directory-empty", f"expected at least one file in `{root}`, got none")
    return tuple(found)


def _walk_into(found: list[Found], holes: Holes, directory: int, prefix: str, depth: int) -> None:
    if depth > _DEPTH_MAX:
        raise Refused("directory-too-deep", f"expected at most {_DEPTH_MAX} levels of directories, `{prefix}` has more")
    with os.scandir(directory) as entries:
        for entry in entries:
            path = prefix + _decoded(entry.name)
            try:
                status = os.stat(entry.name, dir_fd=directory, follow_symlinks=False)
            except FileNotFoundError as err:
                raise _changed(path) from err
            if stat.S_ISREG(status.st_mode):
                found.append(Found(path, status.st_size, _status(status)))
                holes.add(path, entry.name, directory, status)
                if len(found) > FILES_MAX:
                    raise Refused("files-too-many", f"expected at most {FILES_MAX} files, got more")
            elif stat.S_ISDIR(status.st_mode):
                with _opened(entry.name, _OPEN_DIRECTORY, directory) as inner:
                    _walk_into(found, holes, inner, f"{path}/", depth + 1)
            elif stat.S_ISLNK(status.st_mode):
                raise Refused("file-symlink", f"{path!r} is a symbolic link: an artifact holds files only")
            else:
                raise Refused("file-special", f"{path!r} is a device, pipe or socket: an artifact holds files only")


def _hash_all(
    base: Path, found: tuple[Found, ...], threads: int, progress: Progress | None
) -> tuple[ManifestFile, ...]:
    """Largest first, so that no thread is left with a big file at the end; the queue is the only thing shared."""
    if not found:
        return ()
    total = sum(file.size for file in found)
    queue = deque(sorted(range(len(found)), key=lambda i: -found[i].size))
    # A file that is more than its share of the work gets a second thread for its BLAKE3.
    split_above = max(_SPLIT_BYTES_MIN, total // threads)
    tally = _Tally(total, progress)
    done: list[ManifestFile | None] = [None] * len(found)
    stop = threading.Event()

    def work() -> None:
        reader = _Reader(base, tally, stop)
        try:
            while not stop.is_set():
                try:
                    index = queue.popleft()
                except IndexError:
                    return
                done[index] = reader.read(found[index], split=threads > 1 and found[index].size > split_above)
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

    with ThreadPoolExecutor(min(threads, len(found)), thread_name_prefix="keyturn-manifest") as pool:
        try:
            for future in [pool.submit(work) for _ in range(min(threads, len(found)))]:
                future.result()
        except BaseException:
            stop.set()  # whoever gives up (Ctrl-C) does not wait for the end of a file of hours
            raise
    return tuple(file for file in done if file is not None)


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

    def __init__(self, base: Path, tally: _Tally, stop: threading.Event) -> None:
        self._stop = stop
        self._base = os.open(base, _OPEN_DIRECTORY)
        self._directory = ("", self._base)
        self._tally = tally
        self._memory = mmap.mmap(-1, 2 * _CHUNK_BYTES)
        view = memoryview(self._memory)
        self._buffers = (view[:_CHUNK_BYTES], view[_CHUNK_BYTES:])
        self._companion: ThreadPoolExecutor | None = None

    def close(self) -> None:
        self._leave_directory()
        os.close(self._base)
        if self._companion is not None:
            self._companion.shutdown()

    def read(self, file: Found, *, split: bool) -> ManifestFile:
        parent, _, name = file.path.rpartition("/")
        with _opened(name, _OPEN | os.O_NONBLOCK, self._enter_directory(parent)) as descriptor:
            if _status(os.fstat(descriptor)) != file.status:
                raise _changed(file.path)
            sha, blake, size = (self._split if split else self._straight)(descriptor)
            if self._stop.is_set():
                raise _Stopped
            if _status(os.fstat(descriptor)) != file.status or size != file.size:
                raise _changed(file.path)
        return ManifestFile(path=file.path, size=size, sha256=sha, blake3=blake)

    def _straight(self, descriptor: int) -> tuple[str, str, int]:
        sha, blake, size, buffer = hashlib.sha256(), blake3(), 0, self._buffers[0]
        while not self._stop.is_set() and (count := os.readv(descriptor, [buffer])):
            chunk = buffer[:count]
            sha.update(chunk)
            blake.update(chunk)
            size += count
            self._tally.add(count)
        return sha.hexdigest(), blake.hexdigest(), size

    def _split(self, descriptor: int) -> tuple[str, str, int]:
        # The companion takes the BLAKE3 of a chunk and reads the next one, while this thread takes the SHA-256.
        if self._companion is None:
            self._companion = ThreadPoolExecutor(1, thread_name_prefix="keyturn-blake3")
        sha, blake, size, turn = hashlib.sha256(), blake3(), 0, 0
        count = os.readv(descriptor, [self._buffers[0]])

        def ahead(chunk: memoryview, spare: memoryview) -> int:
            blake.update(chunk)
            return os.readv(descriptor, [spare])

        while count and not self._stop.is_set():
            chunk = self._buffers[turn][:count]
            turn = 1 - turn
            following = self._companion.submit(ahead, chunk, self._buffers[turn])
            sha.update(chunk)
            size += count
            self._tally.add(count)
            count = following.result()
        return sha.hexdigest(), blake.hexdigest(), size

    def _enter_directory(self, path: str) -> int:
        """Open `path` below the base, segment by segment and never through a link; the last one stays open."""
        if path != self._directory[0]:
            self._leave_directory()
            descriptor = self._base
            for segment in path.split("/") if path else ():
                try:
                    inner = os.open(segment, _OPEN_DIRECTORY, dir_fd=descriptor)
                except OSError as err:
                    raise _changed(path) from err
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


@contextmanager
def _opened(name: str, flags: int, directory: int | None) -> Iterator[int]:
    try:
        descriptor = os.open(name, flags, dir_fd=directory)
    except (FileNotFoundError, NotADirectoryError) as err:
        raise _changed(name) from err
    except OSError as err:
        raise Unavailable("file-unreadable", f"{name!r} cannot be read: {err.strerror}") from err
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _status(status: os.stat_result) -> tuple[int, int, int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _decoded(name: str) -> str:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as err:
        raise Malformed("path-invalid", f"file name {name!r} is not UTF-8") from err
    return name


def _changed(path: str) -> Refused:
    return Refused(
        "file-changed", f"{path!r} changed while it was read", hint="stop whatever writes there, then try again"
    )
