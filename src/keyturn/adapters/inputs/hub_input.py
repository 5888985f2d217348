"""Hold a snapshot of huggingface_hub's cache: files that are links into `blobs/` of the same repository's directory.

    models--acme--tiny/blobs/<name>                     the bytes, named by what the hub calls them
    models--acme--tiny/snapshots/<revision>/a/b.json    a link to ../../../blobs/<name>, or the file itself

A link is followed by what it says, never by the system: it must name a file directly in `blobs/`, which is opened there without
following anything. So no link of a link, and nothing outside. The hub names a blob by the SHA-256 of a large file and by git's
object id of a small one: a blob that is neither under such a name is refused, though the input's digest would say the same
later, since this says which file it is.

The revision is the cache's own word: no commit of the hub is here to hash. So it stands in the `uri`, and is no `gitCommit`.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from keyturn.errors import Refused, Tampered, Unavailable
from keyturn.formats.digest import check_path
from keyturn.formats.input_source import HubSnapshot
from keyturn.formats.manifest import FILES_MAX
from keyturn.formats.provenance import Origin

__all__ = ["hold"]

_CHUNK_BYTES = 1 << 20
_DEPTH_MAX = 64
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_DIRECTORY = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_DIRECTORY
_NAMED_BY_CONTENT = re.compile(r"[0-9a-f]{40}\Z|[0-9a-f]{64}\Z")


def hold(source: HubSnapshot, repository: Path, into: Path, *, check: Callable[[Path], Path]) -> Origin:
    """Copy what `source` names below `repository`, its directory in the cache, to `into`, each file with its bytes."""
    with (
        _opened(check(repository), _DIRECTORY, None, source) as top,
        _opened("snapshots", _DIRECTORY, top, source) as snapshots,
        _opened(source.revision, _DIRECTORY, snapshots, source) as snapshot,
    ):
        check(Path(f"/proc/self/fd/{top}").readlink())  # where its name led when it was opened: that is its owner's
        _Copying(source, top).one(snapshot, source.part, into)
    return Origin(source.uri)


class _Copying:
    def __init__(self, source: HubSnapshot, top: int) -> None:
        self._source = source
        self._top = top
        self._count = 0

    def one(self, snapshot: int, part: str, into: Path) -> None:
        """Copy the directory or file `part` of the snapshot; no directory on the way to it is a link."""
        if not part:
            self._directory(snapshot, "", into)
            return
        head, _, rest = part.rpartition("/")
        directory = os.dup(snapshot)
        try:
            for name in head.split("/") if head else ():
                inner = _open(name, _DIRECTORY, directory, self._source)
                os.close(directory)
                directory = inner
            self._entry(directory, head, rest, into)
        finally:
            os.close(directory)

    def _directory(self, directory: int, path: str, into: Path) -> None:
        if path.count("/") >= _DEPTH_MAX:
            raise Refused(
                "directory-too-deep", f"expected at most {_DEPTH_MAX} levels of directories, `{path}` has more"
            )
        into.mkdir()
        with os.scandir(directory) as entries:
            for name in sorted(entry.name for entry in entries):
                self._entry(directory, path, name, into / name)

    def _entry(self, directory: int, parent: str, name: str, into: Path) -> None:
        path = check_path(f"{parent}/{name}" if parent else name)
        self._count += 1
        if self._count > FILES_MAX:
            raise Refused("files-too-many", f"expected at most {FILES_MAX} files, got more")
        try:
            mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
        except OSError as err:
            raise _gone(path, self._source) from err
        if stat.S_ISDIR(mode):
            with _opened(name, _DIRECTORY, directory, self._source) as inner:
                self._directory(inner, path, into)
        elif stat.S_ISLNK(mode):
            blob = self._blob(os.readlink(name, dir_fd=directory), path)
            with _opened("blobs", _DIRECTORY, self._top, self._source) as blobs:
                _copy(blobs, blob, into, path, self._source, by_content=_NAMED_BY_CONTENT.match(blob) is not None)
        else:
            _copy(directory, name, into, path, self._source, by_content=False)

    def _blob(self, link: str, path: str) -> str:
        """The name in `blobs/` that the link at `path` of the snapshot says; it decides by its words alone."""
        ups = "../" * (path.count("/") + 2)
        name = link.removeprefix(f"{ups}blobs/")
        if not link.startswith(f"{ups}blobs/") or "/" in name or name in ("", ".", ".."):
            raise Refused(
                "hub-link",
                f"{path!r} links to {link[:200]!r}: expected a file of the snapshot's own `blobs/`",
                hint=f"download the snapshot again: hf download {self._source.name} --revision {self._source.revision}",
            )
        return name


def _copy(directory: int, name: str, into: Path, path: str, source: HubSnapshot, *, by_content: bool) -> None:
    with _opened(name, _READ, directory, source) as descriptor:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            raise Refused("file-special", f"{path!r} is a device, pipe, socket or link: an artifact holds files only")
        own = (
            hashlib.sha1(b"blob %d\0" % before.st_size, usedforsecurity=False) if len(name) == 40 else hashlib.sha256()
        )
        with os.fdopen(os.dup(descriptor), "rb") as file, into.open("xb") as copy:
            while chunk := file.read(_CHUNK_BYTES):
                own.update(chunk)
                copy.write(chunk)
        if _status(os.fstat(descriptor)) != _status(before):
            raise Refused("file-changed", f"{path!r} changed while it was read", hint="run it again")
    if by_content and own.hexdigest() != name:
        raise Tampered(
            "hub-blob",
            f"{path!r}: the blob `{name}` has another content than its name says",
            hint=f"remove it, and download it again: hf download {source.name} --revision {source.revision}",
        )


def _status(found: os.stat_result) -> tuple[Any, ...]:
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@contextmanager
def _opened(name: str | Path, flags: int, directory: int | None, source: HubSnapshot) -> Iterator[int]:
    descriptor = _open(name, flags, directory, source)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _open(name: str | Path, flags: int, directory: int | None, source: HubSnapshot) -> int:
    try:
        return os.open(name, flags, dir_fd=directory)
    except OSError as err:
        raise _gone(str(name), source) from err


def _gone(name: str, source: HubSnapshot) -> Unavailable:
    return Unavailable(
        "hub-incomplete",
        f"the snapshot {source.uri} lacks {name!r}, or it cannot be read",
        hint=f"download it again: hf download {source.name} --revision {source.revision}",
    )
