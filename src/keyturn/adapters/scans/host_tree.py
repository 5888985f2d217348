"""Read the files of a host below a root: the running machine at `/`, or an image. `standing.host.tree.HostTree`.

An image is somebody else's: no link in it leads out of it. Each path is walked name by name from the root's own descriptor, and
a link is followed as the host itself would, with its absolute targets below the root. Devices and FIFOs are never opened for
reading, nothing is written, and no time of access is changed where the kernel allows that.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from keyturn.errors import Unavailable, Usage
from keyturn.standing.host.tree import Status

__all__ = ["FILE_BYTES_MAX", "HostFiles"]

FILE_BYTES_MAX = 16 << 20
_LINKS_MAX = 40
_NAMES_MAX = 200_000
_DEPTH_MAX = 100
_LISTING = os.O_RDONLY | os.O_DIRECTORY
_NOT_FILES = ("/proc", "/sys", "/dev", "/run")
_FOREIGN = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "glusterfs", "lustre", "fuse.sshfs", "afs", "beegfs"}
)


class HostFiles:
    """The host whose files lie below `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        try:
            self._fd = os.open(self._root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError as err:
            raise Usage("file-missing", f"expected a directory at `{root}`", hint="name the root of a host") from err
        except NotADirectoryError as err:
            raise Usage(
                "file-missing", f"expected a directory at `{root}`, got a file", hint="unpack or mount it"
            ) from err
        except OSError as err:
            raise Unavailable(
                "file-unreadable", f"cannot read `{root}`: {err.strerror}", hint="run it as root"
            ) from err

    def close(self) -> None:
        """Let go of the root."""
        os.close(self._fd)

    @property
    def live(self) -> bool:
        return self._root == Path("/")

    @property
    def prefix(self) -> Sequence[str]:
        return () if self.live else ("--prefix", str(self._root))

    def typed(self, path: str, *, followed: bool = False) -> str:
        above, _, name = path.rstrip("/").rpartition("/")
        followed = followed or name in ("", ".", "..")
        try:
            with self._opened(path if followed else above) as at:
                real = str(Path(f"/proc/self/fd/{at}").readlink())
        except OSError:  # nothing is there, or nothing that can be looked at
            return path if self.live else str(self._root / path.lstrip("/"))
        return real if followed else f"{real.rstrip('/')}/{name}"

    def read(self, path: str) -> bytes:
        with self._opened(path) as at:
            if not stat.S_ISREG(os.fstat(at).st_mode):
                raise OSError(errno.EINVAL, "it is no plain file")
            fd = _reopened(at, os.O_RDONLY)
        with os.fdopen(fd, "rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
        if len(content) > FILE_BYTES_MAX:
            raise OSError(errno.EFBIG, f"it has more than {FILE_BYTES_MAX >> 20} MiB")
        return content

    def names(self, path: str) -> Sequence[str]:
        with self._opened(path) as at:
            fd = _reopened(at, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with os.scandir(fd) as entries:
                found = [entry.name for entry in entries]
        finally:
            os.close(fd)
        if len(found) > _NAMES_MAX:
            raise OSError(errno.EFBIG, f"it has more than {_NAMES_MAX} names")
        return sorted(found)

    def status(self, path: str) -> Status:
        with self._opened(path) as at:
            return _status(path, os.fstat(at))

    def privileged(self) -> Iterator[Status | tuple[str, str]]:
        skipped = dict.fromkeys(_NOT_FILES, "") | (dict(_mounts()) if self.live else {})
        fd = _reopened(self._fd, _LISTING)
        try:
            yield from _privileged_below(fd, "", skipped, depth=0)
        finally:
            os.close(fd)

    @contextmanager
    def _opened(self, path: str, *, follow: bool = True) -> Iterator[int]:
        """Walk to `path` below the root; gives a descriptor that is good for looking alone."""
        if "\0" in path:
            raise OSError(errno.EINVAL, "no path has a NUL in it")
        names = deque(part for part in path.split("/") if part not in ("", "."))
        chain, links = [os.dup(self._fd)], 0
        try:
            while names:
                name = names.popleft()
                if name == "..":
                    if len(chain) > 1:
                        os.close(chain.pop())
                    continue
                at = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=chain[-1])
                if not stat.S_ISLNK(os.fstat(at).st_mode) or (not follow and not names):
                    chain.append(at)
                    continue
                os.close(at)
                links += 1
                if links > _LINKS_MAX:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                target = os.readlink(name, dir_fd=chain[-1])
                if target.startswith("/"):
                    while len(chain) > 1:
                        os.close(chain.pop())
                names.extendleft(reversed([part for part in target.split("/") if part not in ("", ".")]))
            yield chain[-1]
        finally:
            for fd in chain:
                os.close(fd)


def _reopened(at: int, flags: int) -> int:
    """Open for reading what `at` only points to: the same file, whatever its name leads to by now."""
    more = os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    try:
        return os.open(f"/proc/self/fd/{at}", flags | more | os.O_NOATIME)
    except PermissionError:
        return os.open(f"/proc/self/fd/{at}", flags | more)  # who is not its owner cannot ask for O_NOATIME


def _status(path: str, found: os.stat_result, *, capabilities: bool = False) -> Status:
    kind = "file" if stat.S_ISREG(found.st_mode) else "directory" if stat.S_ISDIR(found.st_mode) else "other"
    return Status(path, kind, stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid, capabilities)  # type: ignore[arg-type]  # one of three


def _privileged_below(
    at: int, path: str, skipped: Mapping[str, str], *, depth: int
) -> Iterator[Status | tuple[str, str]]:
    """Look at what lies in the directory `at`, and below: each is opened by its name in the one above, never by a link."""
    if depth > _DEPTH_MAX:
        yield path, f"it lies deeper than {_DEPTH_MAX} directories"
        return
    if depth and _is_roots_alone(os.fstat(at)):
        return  # nobody but root gets to what is in it
    with os.scandir(at) as entries:
        inside = sorted(entries, key=lambda entry: entry.name)
    for entry in inside:
        full = f"{path}/{entry.name}"
        try:
            if entry.is_dir(follow_symlinks=False):
                if full in skipped:
                    if skipped[full]:
                        yield full, skipped[full]
                    continue
                fd = os.open(entry.name, _LISTING | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
                try:
                    yield from _privileged_below(fd, full, skipped, depth=depth + 1)
                finally:
                    os.close(fd)
            elif entry.is_file(follow_symlinks=False) and (seen := _if_privileged(full, entry, at)) is not None:
                yield seen
        except FileNotFoundError:
            continue  # it went away meanwhile
        except OSError as err:
            yield full, err.strerror or "it cannot be looked into"


def _is_roots_alone(found: os.stat_result) -> bool:
    return found.st_uid == 0 and not found.st_mode & 0o001 and (found.st_gid == 0 or not found.st_mode & 0o010)


def _if_privileged(path: str, entry: os.DirEntry[str], within: int) -> Status | None:
    found = entry.stat(follow_symlinks=False)
    if not found.st_mode & 0o111:
        return None
    capable = False
    with suppress(OSError):  # no such attribute, or a file system without any
        capable = bool(
            os.getxattr(f"/proc/self/fd/{within}/{entry.name}", "security.capability", follow_symlinks=False)
        )
    if found.st_mode & (stat.S_ISUID | stat.S_ISGID) or capable:
        return _status(path, found, capabilities=capable)
    return None


def _mounts() -> Iterator[tuple[str, str]]:
    """Where other file systems lie that hold no programs of this host, and why; without a reason when none can be privileged."""
    for line in Path("/proc/self/mountinfo").read_bytes().decode("utf-8", "surrogateescape").splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()[0]
        where = fields[4].encode("latin-1", "replace").decode("unicode_escape") if "\\" in fields[4] else fields[4]
        if where == "/":
            continue
        if "nosuid" in fields[5].split(","):
            yield where, ""
        elif kind in _FOREIGN:
            yield where, f"it is another machine's ({kind}), and setuid programs are allowed there: mount it nosuid"
