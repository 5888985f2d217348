"""Hash a directory or a file: for its identity, for a manifest with both digests of every file, or against such a manifest.

    contents(root)              names and SHA-256s, of which the identity is: what statements, grants and people mean
    make(root)                  those and BLAKE3s, in one pass: what somebody signs, for whoever compares later
    differing(root, expected)   BLAKE3s alone, which take less than half the time, against a manifest that somebody signed

What is hashed is what was there, or nothing is returned: symlinks, special files, names that are not UTF-8 or fold to one,
and anything that changes while it is read are refused.

1. walk: list every file with its status (device, inode, size, times);
2. read: each file once, all digests from the same bytes, status before and after equal to the listing;
3. walk again: the same listing, or the artifact changed while it was read.

This is NOT where a manifest is judged: callers compare `identity` with what they expected, and know who signed a manifest.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from keyturn.bulk.differences import differences
from keyturn.bulk.hash_files import Algorithm, Progress, hash_all
from keyturn.bulk.threads import cores
from keyturn.bulk.walk import Found, changed, look, status_of, walk
from keyturn.errors import Refused
from keyturn.formats.manifest import Contents, HashedFile, Manifest, ManifestFile, sizes_apart

__all__ = ["Found", "Progress", "contents", "differing", "look", "make", "walk"]

_Kind = Literal["directory", "file"]


def contents(
    root: Path,
    *,
    threads: int | None = None,
    progress: Progress | None = None,
    written: Mapping[str, HashedFile] = MappingProxyType({}),
    listed: tuple[Found, ...] | None = None,
) -> Contents:
    """Take the SHA-256 of every file of the directory or regular file `root`.

    Files in `written`, by path, were hashed while they were written (`bulk.hash_while_writing`), and are not read again: only
    that they are there with that size is looked at. `listed` is what the caller saw of it before: then nothing else is hashed.

    Raises `Refused` for what has no place in an artifact, `Malformed` for names, `Unavailable` when it cannot be read.
    """
    found = look(root) if listed is None else listed  # (1)
    _require_written(written, found)
    unread = tuple(file for file in found if file.path not in written)
    hashed = _hashed(root, unread, ("sha256",), threads, progress)  # (2)
    _require_same(root, found)  # (3)
    files = (
        written.get(one.path) or HashedFile(path=one.path, size=one.size, sha256=hashed[one.path][0]) for one in found
    )
    return Contents(_kind(root, found), tuple(files))


def make(root: Path, *, threads: int | None = None, progress: Progress | None = None) -> Manifest:
    """Take both digests of every file of the directory or regular file `root`; raises what `contents` raises."""
    found = look(root)  # (1)
    hashed = _hashed(root, found, ("sha256", "blake3"), threads, progress)  # (2)
    _require_same(root, found)  # (3)
    files = []
    for one in found:
        sha, blake = hashed[one.path]
        files.append(ManifestFile(path=one.path, size=one.size, sha256=sha, blake3=blake))
    return Manifest(kind=_kind(root, found), files=tuple(files))


def differing(
    root: Path,
    expected: Manifest,
    *,
    threads: int | None = None,
    progress: Progress | None = None,
    listed: tuple[Found, ...] | None = None,
) -> tuple[str, ...]:
    """Say of each file how it is not what `expected` has, by name, size and BLAKE3; nothing when all are what it has.

    When names or sizes differ, nothing is read. `listed` as for `contents`. Raises what `contents` raises.
    """
    found = look(root) if listed is None else listed  # (1)
    if by_size := sizes_apart(expected, _kind(root, found), {one.path: one.size for one in found}):
        return by_size
    hashed = _hashed(root, found, ("blake3",), threads, progress)  # (2)
    _require_same(root, found)  # (3)
    pairs = zip(found, expected.files, strict=True)  # both in order of their paths
    return tuple(f"{one.path!r} has another content" for one, file in pairs if hashed[one.path][0] != file.blake3)


def _kind(root: Path, found: tuple[Found, ...]) -> _Kind:
    """What was listed: whatever lies there by now, one name of many files is not taken for a lone one, nor the reverse."""
    try:
        return "file" if len(found) == 1 and status_of(root.lstat()) == found[0].status else "directory"
    except OSError as err:
        raise changed(str(root)) from err


def _hashed(
    root: Path, found: tuple[Found, ...], digests: tuple[Algorithm, ...], threads: int | None, progress: Progress | None
) -> Mapping[str, tuple[str, ...]]:
    base = root if root.is_dir() else root.parent
    try:
        hashed = hash_all(base, found, digests, threads=threads or cores(), progress=progress)
    except Refused as err:
        raise (_all_changed(root, found) or err) from err
    return {file.path: of_it for file, of_it in zip(found, hashed, strict=True)}


def _require_same(root: Path, found: tuple[Found, ...]) -> None:
    if wrong := _all_changed(root, found):
        raise wrong


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


def _require_written(written: Mapping[str, HashedFile], found: tuple[Found, ...]) -> None:
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
