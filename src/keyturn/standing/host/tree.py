"""What scanners of a host ask: its files, as they lie below a root, and what its own programs make of its configuration.

`adapters.scans.host_tree` reads the running machine, or an image that is mounted or unpacked somewhere. Scanners decide alone.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from keyturn.standing.finding import Finding, unseen

__all__ = ["HostTools", "HostTree", "Listener", "Status", "look", "look_at", "look_into"]


@dataclass(frozen=True, slots=True)
class Status:
    """One file, after links. `mode` are the permission bits with setuid, setgid and sticky; `capabilities`: if it has any."""

    path: str
    kind: Literal["file", "directory", "other"]
    mode: int
    uid: int
    gid: int
    capabilities: bool = False


@dataclass(frozen=True, slots=True)
class Listener:
    """A process that takes connections from elsewhere: where, as which user, its program and words."""

    address: str
    port: int
    uid: int
    program: str
    words: tuple[str, ...]


class HostTree(Protocol):
    """The files of one host. Paths are absolute within it, links are followed within it, and bytes that are no text are
    surrogates in names.

    Each raises `FileNotFoundError` when nothing is there, and another `OSError` when it could not be looked at.
    """

    def read(self, path: str) -> bytes:
        """The whole of a plain file; `OSError` for anything else, or beyond 16 MiB."""
        ...

    def names(self, path: str) -> Sequence[str]:
        """The names in a directory, sorted."""
        ...

    def status(self, path: str) -> Status:
        """What lies at `path`."""
        ...

    def privileged(self) -> Iterator[Status | tuple[str, str]]:
        """Every plain file with a setuid or setgid bit or capabilities; or a path that could not be looked into, and why."""
        ...

    def typed(self, path: str, *, followed: bool = False) -> str:
        """The path as it is typed on the machine that scans: no link above its last name, and none at all when `followed`."""
        ...

    @property
    def live(self) -> bool:
        """Whether this is the machine that scans, and not an image."""
        ...

    @property
    def prefix(self) -> Sequence[str]:
        """The option that has a program of `passwd`'s family work on this host."""
        ...


class HostTools(Protocol):
    """What programs say of the host's configuration. Each raises a `KeyturnError` when it could not be asked."""

    def sshd(self, *, user: str, address: str) -> str:
        """What `sshd -T` says for a connection of `user` from `address`."""
        ...

    def sudoers(self, text: bytes) -> bytes:
        """`text` in the syntax of sudoers, as `cvtsudoers` has it in JSON."""
        ...

    def listeners(self) -> Sequence[Listener]:
        """The processes of the running machine that listen on more than loopback."""
        ...


def look(tree: HostTree, area: str, path: str) -> Generator[Finding, None, bytes | None]:
    """Read `path`: None when nothing is there, and a finding when it could not be looked at."""
    try:
        return tree.read(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as err:
        yield unseen(area, path, err.strerror or "it cannot be read")
        return None


def look_at(tree: HostTree, area: str, path: str) -> Generator[Finding, None, Status | None]:
    """What lies at `path`: None when nothing is there, and a finding when it could not be looked at."""
    try:
        return tree.status(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as err:
        yield unseen(area, path, err.strerror or "it cannot be looked at")
        return None


def look_into(tree: HostTree, area: str, path: str) -> Generator[Finding, None, tuple[str, ...]]:
    """The paths in the directory `path`: none when nothing is there, and a finding when it could not be looked into."""
    try:
        return tuple(f"{path.rstrip('/')}/{name}" for name in tree.names(path))
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except OSError as err:
        yield unseen(area, path, err.strerror or "it cannot be listed")
        return ()
