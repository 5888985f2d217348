"""Write the few unsigned files that a person or lab begins with: whole or not at all, and never over another."""

from __future__ import annotations

from pathlib import Path

from keyturn.adapters.files import durable_files
from keyturn.adapters.files.plain_files import read_plain
from keyturn.errors import KeyturnError, Unavailable, Usage

__all__ = ["read_kept", "read_small", "replace_file", "require_new", "unreadable", "write_new"]


def write_new(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write the new file `path` durably; `Usage` `file-exists` when there is anything already."""
    try:
        durable_files.create(path, content, mode=mode)
    except FileExistsError as err:
        raise _exists(path) from err
    except OSError as err:
        raise _unwritable(path, err) from err


def require_new(path: Path, *, hint: str = "") -> None:
    """Raise `Usage` `file-exists` when there is anything at `path`: before the work whose result is written there."""
    if path.exists() or path.is_symlink():
        raise _exists(path, hint=hint)


def replace_file(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Put `content` at `path` atomically and durably."""
    try:
        durable_files.replace(path, content, mode=mode)
    except OSError as err:
        raise _unwritable(path, err) from err


def read_small(path: Path, *, size_bytes_max: int = 64 * 1024) -> bytes:
    """Read a file that somebody named, or what a pipe in its place says: `Usage` when none is there, `Unavailable` when it cannot
    be read.

    `Usage` `file-too-large` beyond `size_bytes_max`: whatever it is, it is not the file that was meant.
    """
    try:
        with path.open("rb") as file:
            content = file.read(size_bytes_max + 1)
    except OSError as err:
        raise unreadable(path, err) from err
    if len(content) > size_bytes_max:
        raise Usage(
            "file-too-large",
            f"`{path}`: expected at most {size_bytes_max} bytes",
            hint="name the file that is meant: no such file is ever that large",
        )
    return content


def read_kept(path: Path, *, size_bytes_max: int = 64 * 1024) -> bytes:
    """`read_small` of a file in a directory that Keyturn keeps, where nothing else but a plain file has its place."""
    try:
        return read_plain(path, size_bytes_max=size_bytes_max)
    except OSError as err:
        raise unreadable(path, err) from err


def unreadable(path: Path, err: OSError) -> KeyturnError:
    """What to raise when `path` could not be opened: a slip of the hand when no file is there, else not to be found out."""
    if isinstance(err, FileNotFoundError | NotADirectoryError | IsADirectoryError):
        return Usage(
            "file-missing",
            f"expected a file at `{path}`: {err.strerror}",
            hint="type the path of a file that is there",
        )
    return Unavailable(
        "file-unreadable", f"cannot read `{path}`: {err.strerror}", hint="look at its owner and mode: ls -l"
    )


def _exists(path: Path, *, hint: str = "") -> Usage:
    return Usage(
        "file-exists",
        f"`{path}` is there already, and is not overwritten",
        hint=hint or "name another, or move it away",
    )


def _unwritable(path: Path, err: OSError) -> Unavailable:
    return Unavailable(
        "file-unwritable",
        f"cannot write `{path}`: {err.strerror}",
        hint="free space, or name a place that you may write",
    )
