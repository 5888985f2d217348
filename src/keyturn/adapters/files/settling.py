"""Make what a step left plain and durable: ordinary modes, no links or devices, and each synced before anybody says it is there.

A sync waits for the disk, and for nothing of this machine: many at once end together, where one after the other a million files
take more than an hour.
"""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from keyturn.errors import Refused
from keyturn.formats.manifest import FILES_MAX

__all__ = ["require_left", "settle", "sync"]

_DEPTH_MAX = 64
_FEW = 64
_AT_ONCE = 32


def require_left(place: Path, *, called: str) -> None:
    """Refuse, as `output-missing`, an output that was to be at `place`, which people know as `called`, where nothing is."""
    if not os.path.lexists(place):
        raise Refused(
            "output-missing",
            f"expected an output at `{called}`, found nothing",
            hint="mend what the step writes; a job is told where by keyturn.open_step().output(name)",
        )


def settle(place: Path) -> None:
    """Give every directory 0755 and every file 0644 or 0755, and make them durable; `Refused` for what is neither, `OSError`.

    The step wrote as the builder's own user: a set-uid bit would be that user's, out here. Nothing of the step runs any more,
    and nobody else gets into the staging directory.
    """
    found: list[str] = []
    _make_plain(place, _DEPTH_MAX, found)
    if len(found) <= _FEW:
        for one in found:
            sync(one)
        return
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="keyturn-sync") as pool:
        for _ in pool.map(sync, found):
            pass


def _make_plain(place: Path, depth: int, found: list[str]) -> None:
    mode = place.lstat().st_mode
    if len(found) > 2 * FILES_MAX:  # files and directories; `bulk.walk` counts each for itself
        raise Refused("files-too-many", f"expected at most {FILES_MAX} files in an output, got more")
    if depth == 0:
        raise Refused("directory-too-deep", f"expected at most {_DEPTH_MAX} levels of directories in an output")
    if stat.S_ISLNK(mode):
        raise Refused("file-symlink", f"output {place.name!r} is a symbolic link: an artifact holds files only")
    if stat.S_ISDIR(mode):
        place.chmod(0o755)
        for entry in place.iterdir():
            _make_plain(entry, depth - 1, found)
    elif stat.S_ISREG(mode):
        place.chmod(0o755 if mode & 0o100 else 0o644)
    else:
        raise Refused(
            "file-special", f"output {place.name!r} is a device, pipe or socket: an artifact holds files only"
        )
    found.append(os.fspath(place))  # a directory behind what it holds


def sync(place: Path | str) -> None:
    """Make the file or directory `place` durable."""
    descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
