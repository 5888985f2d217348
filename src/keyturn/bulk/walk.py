"""List the regular files of an artifact, with the status of each, and refuse whatever has no place in one.

Refused are symlinks, special files, and names that are not UTF-8 or fold to one. Every open goes through directory descriptors
without following links, so that a path cannot be swapped for a link between looking and reading. Nothing is read here.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from keyturn.bulk.holes import Holes
from keyturn.errors import Malformed, Refused, Unavailable, Usage
from keyturn.formats.manifest import FILES_MAX, check_names

__all__ = ["OPEN", "OPEN_DIRECTORY", "Found", "changed", "look", "opened", "status_of", "walk", "walk_in"]

_DEPTH_MAX = 64
OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
OPEN_DIRECTORY = OPEN | os.O_DIRECTORY


@dataclass(frozen=True, slots=True)
class Found:
    """A regular file as the walk saw it. `status` changes whenever its content does."""

    path: str
    size: int
    status: tuple[int, int, int, int, int, int]


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
        return (Found(root.name, status.st_size, status_of(status)),)
    if stat.S_ISLNK(status.st_mode):
        raise Refused(
            "file-symlink",
            f"expected a directory or a regular file, `{root}` is a symbolic link, which may lead elsewhere in a moment",
            hint=f"name what it leads to: $(readlink -f {shlex.quote(os.fspath(root))})",
        )
    raise Refused("file-special", f"expected a directory or a regular file, `{root}` is neither")


def walk(root: Path) -> tuple[Found, ...]:
    """List every regular file below the directory `root`, in order of the paths' bytes; refuse everything else."""
    with opened(os.fspath(root), OPEN_DIRECTORY, None) as descriptor:
        return walk_in(descriptor, root)


def walk_in(descriptor: int, root: Path) -> tuple[Found, ...]:
    """List as `walk` does what is below the open directory `descriptor`, which people call `root`."""
    found: list[Found] = []
    _Walk(found, Holes()).into(descriptor, "", 0)
    found.sort(key=lambda file: file.path.encode("utf-8"))
    check_names(file.path for file in found)
    if not found:
        raise Malformed("directory-empty", f"expected at least one file in `{root}`, got none")
    return tuple(found)


class _Walk:
    """One listing, with the directories of it counted: an artifact has none, and empty ones could be without end."""

    def __init__(self, found: list[Found], holes: Holes) -> None:
        self._found = found
        self._holes = holes
        self._directories = 0

    def into(self, directory: int, prefix: str, depth: int) -> None:
        if depth > _DEPTH_MAX:
            raise Refused(
                "directory-too-deep", f"expected at most {_DEPTH_MAX} levels of directories, `{prefix}` has more"
            )
        with os.scandir(directory) as entries:
            for entry in entries:
                path = prefix + _decoded(entry.name)
                try:
                    status = os.stat(entry.name, dir_fd=directory, follow_symlinks=False)
                except FileNotFoundError as err:
                    raise changed(path) from err
                if stat.S_ISREG(status.st_mode):
                    self._found.append(Found(path, status.st_size, status_of(status)))
                    self._holes.add(path, entry.name, directory, status)
                    _require_few(len(self._found), "files")
                elif stat.S_ISDIR(status.st_mode):
                    self._directories += 1
                    _require_few(self._directories, "directories")
                    with opened(entry.name, OPEN_DIRECTORY, directory) as inner:
                        self.into(inner, f"{path}/", depth + 1)
                elif stat.S_ISLNK(status.st_mode):
                    raise Refused("file-symlink", f"{path!r} is a symbolic link: an artifact holds files only")
                else:
                    raise Refused("file-special", f"{path!r} is a device, pipe or socket: an artifact holds files only")


def _require_few(count: int, what: str) -> None:
    if count > FILES_MAX:
        raise Refused("files-too-many", f"expected at most {FILES_MAX} {what}, got more")


@contextmanager
def opened(name: str, flags: int, directory: int | None) -> Iterator[int]:
    try:
        descriptor = os.open(name, flags, dir_fd=directory)
    except (FileNotFoundError, NotADirectoryError) as err:
        raise changed(name) from err
    except OSError as err:
        raise Unavailable("file-unreadable", f"{name!r} cannot be read: {err.strerror}") from err
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def status_of(status: os.stat_result) -> tuple[int, int, int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _decoded(name: str) -> str:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as err:
        raise Malformed("path-invalid", f"file name {name!r} is not UTF-8") from err
    return name


def changed(path: str) -> Refused:
    return Refused(
        "file-changed", f"{path!r} changed while it was read", hint="stop whatever writes there, then try again"
    )
