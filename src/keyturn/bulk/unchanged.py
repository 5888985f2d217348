"""Load the very files that were verified: see how they look before they are hashed, and that nothing moved until they are loaded.

    seen = look(root)                   before the first byte is read
    contents(root, listed=seen.files)   hashed, and compared with what people released
    with unchanged(seen) as path:       what the kernel holds for this process, whatever becomes of its names
        load(path / "model.safetensors")

Between a check and whoever opens the files afterwards, anybody who may write there has all the time he wants. So the path that
is given out leads through a descriptor, past every name and link above the files; and on leaving, each file and directory must
look as it did before it was hashed: device, inode, size, mode, both times. What was swapped, and swapped back, has another
change time (inode(7)), which nobody can set.

This is NOT a lock. A file that is mapped into memory and read after the block is what it is then.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from keyturn.bulk.differences import differences, shown
from keyturn.bulk.walk import OPEN_DIRECTORY, Found, opened, walk_in
from keyturn.bulk.walk import look as listing_of
from keyturn.errors import KeyturnError, Refused

__all__ = ["Seen", "directories", "look", "unchanged"]

_TICK_S = 0.05
"""Longer than the kernel's coarsest step of file times: what changes within one step of them looks the same."""
_TICKS_MAX = 20


@dataclass(frozen=True, slots=True)
class Seen:
    """How an artifact at `root` looked, with the directories that hold its files."""

    root: Path
    files: tuple[Found, ...]
    directories: tuple[tuple[int, ...], ...]

    def changed_at(self) -> float:
        """When the newest of it changed, by the kernel's clock."""
        return max(status[-1] for status in (*(file.status for file in self.files), *self.directories)) / 1e9


def look(root: Path, *, pause: Callable[[float], None]) -> Seen:
    """See how what lies at `root` looks, once the newest change is longer ago than file times can tell apart.

    Raises what `walk.look` raises, and `Refused` `file-changed` for files that do not come to rest within a second.
    """
    real = root.parent.resolve() / root.name
    for _ in range(_TICKS_MAX):
        files = listing_of(real)
        seen = Seen(real, files, directories(real))
        if abs(time.time() - seen.changed_at()) > _TICK_S:
            return seen
        pause(_TICK_S)
    raise _changed(real, ("something writes there without end",))


def directories(root: Path | str, descriptor: int | None = None) -> tuple[tuple[int, ...], ...]:
    """Status of every directory at and below `root` (in `descriptor`): what is renamed away and back leaves no other trace."""
    found = []
    for _, names, _, here in os.fwalk(root, dir_fd=descriptor):
        names.sort()
        status = os.fstat(here)
        found.append((status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns))
    return tuple(found)


@contextmanager
def unchanged(seen: Seen) -> Iterator[Path]:
    """Give a path to what was `seen`, for this process and its children while the block runs, and hold it to that at both ends.

    Raises `Refused` `file-changed` on entering or on leaving, `Unavailable` when it cannot be read any more.
    """
    root = seen.root
    is_file = not seen.directories
    with opened(os.fspath(root.parent if is_file else root), OPEN_DIRECTORY, None) as held:
        # Not /proc/self: loaders have processes of their own.
        path = Path(f"/proc/{os.getpid()}/fd/{held}", root.name if is_file else "")
        _require_same(seen, path, held)
        yield path
        _require_same(seen, path, held)


def _require_same(seen: Seen, path: Path, held: int) -> None:
    try:
        files = walk_in(held, seen.root) if seen.directories else listing_of(path)
        within = directories(".", held) if seen.directories else ()
    except OSError as err:
        raise _changed(seen.root, (str(err.strerror),)) from err
    except KeyturnError as err:
        raise _changed(seen.root, (err.message,)) from err
    if files != seen.files:
        raise _changed(seen.root, differences(*({file.path: file for file in each} for each in (seen.files, files))))
    if within != seen.directories:
        raise _changed(seen.root, ("its directories were renamed or written to, and are as they were again",))


def _changed(root: Path, wrong: tuple[str, ...]) -> Refused:
    return Refused(
        "file-changed",
        f"`{root}` changed after it was looked at: {wrong[0]}" + (", and others" if len(wrong) > 1 else ""),
        reasons=tuple(("file-changed", one) for one in shown(wrong)),
        hint="do not use what was loaded; stop whatever writes there, then try again",
    )
