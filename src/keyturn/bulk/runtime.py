"""Digest a runtime (an interpreter, its libraries): every file's SHA-256, every link's target, and what may be executed.

A runtime is no artifact: it holds symlinks, and may hold files that this user cannot read (the step, which runs as the
same user, cannot either). Its identity is the SHA-256 of a listing, one line per entry in order of the paths' bytes:

    <kind>  <64 hex>  <path as JSON string>\\n        kind: `f` file, `x` executable file, `l` link, `u` unreadable file

where the hex is the file's SHA-256, or the SHA-256 of the link's target. Directories count by what they hold.

Digests are remembered by status (device, inode, mode, size, times), never taken from it: a file whose status is the one it
had when it was read is not read again. A status younger than `SETTLED_NS` at that time proves nothing (a later write may
leave the same times) and is not remembered. The memory is only as good as whoever keeps it: see `adapters.files.step_files`.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from keyturn.bulk.threads import cores
from keyturn.errors import Refused, Unavailable
from keyturn.formats.digest import ArtifactDigest, Sha256

__all__ = ["SETTLED_NS", "Entry", "Runtime", "Status", "look", "make"]

SETTLED_NS = 2_000_000_000
_ENTRIES_MAX = 2_000_000
_CHUNK_BYTES = 256 << 10
_BATCH = 256

Status = tuple[int, int, int, int, int, int]
"""Device, inode, mode, size, and the times of the last change of content and of status, in nanoseconds."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file or link as it was read. `settled`: its status may stand for its content later."""

    kind: str
    digest: str
    status: Status
    settled: bool


@dataclass(frozen=True, slots=True)
class Runtime:
    """A runtime's identity, and what it was computed from, by path."""

    digest: ArtifactDigest
    entries: Mapping[str, Entry]


def make(root: Path, known: Mapping[str, Entry]) -> Runtime:
    """Digest the directory or file `root`; `known` is what an earlier call found, and was kept where nobody else writes."""
    seen = look(root)
    fresh = [path for path, status in seen.items() if _reusable(known.get(path), status) is None]
    with ThreadPoolExecutor(cores(), thread_name_prefix="keyturn-runtime") as pool:
        batches = [fresh[i : i + _BATCH] for i in range(0, len(fresh), _BATCH)]
        read = dict(
            pair for found in pool.map(lambda batch: list(_read_all(root, batch, seen)), batches) for pair in found
        )
    entries = {path: read.get(path) or known[path] for path in seen}
    return Runtime(ArtifactDigest("sha256", _identity(entries)), entries)


def look(root: Path) -> dict[str, Status]:
    """List every file and link below `root` with its status, reading none."""
    found: dict[str, Status] = {}
    try:
        first = root.lstat()
        if stat.S_ISREG(first.st_mode):
            return {"": _status(first)}
        todo = [""]
        while todo:
            prefix = todo.pop()
            with os.scandir(root / prefix) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISDIR(status.st_mode):
                        todo.append(f"{prefix}{entry.name}/")
                    elif stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode):
                        found[prefix + entry.name] = _status(status)
                    else:
                        raise Refused(
                            "runtime-special", f"{prefix + entry.name!r} of runtime `{root}` is a device or socket"
                        )
            if len(found) > _ENTRIES_MAX:
                raise Refused("files-too-many", f"expected at most {_ENTRIES_MAX} files in runtime `{root}`, got more")
    except PermissionError as err:
        raise Unavailable(
            "runtime-unreadable", f"a directory of runtime `{root}` cannot be read: {err.filename!r}"
        ) from err
    except OSError as err:
        raise Unavailable("runtime-missing", f"runtime `{root}` cannot be read: {err.strerror}") from err
    if not found:
        raise Refused("runtime-empty", f"expected files in runtime `{root}`, got none")
    return found


def _reusable(entry: Entry | None, status: Status) -> Entry | None:
    return entry if entry is not None and entry.settled and entry.status == status else None


def _read_all(root: Path, paths: list[str], seen: Mapping[str, Status]) -> Iterator[tuple[str, Entry]]:
    buffer = memoryview(bytearray(_CHUNK_BYTES))
    for path in paths:
        status = seen[path]
        now = time.time_ns()
        try:
            kind, digest = _read(root / path if path else root, status, buffer)
        except OSError as err:
            raise Unavailable(
                "runtime-unreadable", f"{path!r} of runtime `{root}` cannot be read: {err.strerror}"
            ) from err
        yield path, Entry(kind, digest, status, settled=max(status[4], status[5]) < now - SETTLED_NS)


def _read(place: Path, status: Status, buffer: memoryview) -> tuple[str, str]:
    if stat.S_ISLNK(status[2]):
        return "l", hashlib.sha256(os.fsencode(place.readlink())).hexdigest()
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except PermissionError:
        return "u", hashlib.sha256().hexdigest()
    try:
        summary = hashlib.sha256()
        while count := os.readv(descriptor, [buffer]):
            summary.update(buffer[:count])
        if _status(os.fstat(descriptor)) != status:
            raise Refused("runtime-changed", f"`{place}` changed while it was read", hint="run the step again")
    finally:
        os.close(descriptor)
    return ("x" if status[2] & 0o111 else "f"), summary.hexdigest()


def _identity(entries: Mapping[str, Entry]) -> Sha256:
    summary = hashlib.sha256()
    for path in sorted(entries, key=os.fsencode):
        entry = entries[path]
        summary.update(f"{entry.kind}  {entry.digest}  {json.dumps(path)}\n".encode("ascii"))
    return Sha256(summary.hexdigest())


def _status(status: os.stat_result) -> Status:
    return status.st_dev, status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns
