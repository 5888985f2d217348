"""Serve at a Unix socket, and know which user of this machine asks there: by the kernel's word (SO_PEERCRED), and nobody else's.

The socket is the server's own user's and, if one is named, a group's; whoever else could write into its directory could put a
socket of his own in its place, so such a directory is refused. A client over TCP has no user, and is nobody here.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import socket
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from keyturn.errors import Conflict, Refused, Unavailable, Usage

if TYPE_CHECKING:
    import asyncio

    from litestar.types import Scope

__all__ = ["bound_at", "client_of", "group_id", "user_id", "user_of"]

_CREDENTIALS = struct.Struct("3i")
_USER = "user "


@contextmanager
def bound_at(named: str, *, group: int | None) -> Iterator[socket.socket]:
    """Listen at the path `named` for as long as the block runs: mode 0600, or 0660 for `group`. `Conflict` when somebody
    answers there.
    """
    path = Path(named)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
            _require_ours(path.parent)
            _remove_left(path)
            before = os.umask(0o177)
            try:
                listening.bind(str(path))
            finally:
                os.umask(before)
            if group is not None:
                os.chown(path, -1, group)
                path.chmod(0o660)
            listening.listen(128)
        except OSError as err:
            raise Unavailable(
                "local-socket",
                f"cannot answer at `{path}`: {err.strerror}",
                hint="as the gate's user, in a directory of its own; with `group`, one that it is in",
            ) from err
        try:
            yield listening
        finally:
            path.unlink(missing_ok=True)


def client_of(transport: asyncio.BaseTransport) -> tuple[str, int] | None:
    """The client that a connection of `transport` is known as: its user id and process, at a Unix socket; None at others."""
    found = transport.get_extra_info("socket")
    if found is None or found.family != socket.AF_UNIX:
        return None
    pid, uid, _ = _CREDENTIALS.unpack(found.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return f"{_USER}{uid}", pid


def user_of(scope: Scope) -> int:
    """The id of the user who asks, or `Refused`."""
    client = scope["client"]
    if client is None or not client[0].startswith(_USER):  # an address of TCP is a number
        raise Refused(
            "peer-unknown",
            "expected to be asked at the gate's Unix socket: this way nobody knows who asks",
            hint="curl --unix-socket, with the path that gate.toml says",
        )
    return int(client[0].removeprefix(_USER))


def user_id(name: str) -> int:
    """The id of the user called `name`, or of this number; `Usage` when there is none."""
    try:
        return int(name) if name.isdecimal() else pwd.getpwnam(name).pw_uid
    except KeyError as err:
        raise Usage(
            "user-none", f"this machine has no user `{name}`", hint="users in gate.toml are of this machine"
        ) from err


def group_id(name: str) -> int:
    """The id of the group called `name`, or of this number; `Usage` when there is none."""
    try:
        return int(name) if name.isdecimal() else grp.getgrnam(name).gr_gid
    except KeyError as err:
        raise Usage(
            "group-none", f"this machine has no group `{name}`", hint="`group` in gate.toml is of this machine"
        ) from err


def _require_ours(directory: Path) -> None:
    """Refuse a directory that anybody else writes into, or could put another in the place of: each step to it is looked at."""
    directory = directory.absolute()
    for step in (directory, *directory.parents):
        ours = not _others_put_there(step.lstat(), itself=step == directory)
        if step.is_symlink():  # whose it is, may lead elsewhere tomorrow
            _require_ours(step.readlink() if step.readlink().is_absolute() else step.parent / step.readlink())
        if ours:
            continue
        raise Usage(
            "socket-directory",
            f"expected `{step}` to be the gate's user's or root's, and writable to nobody else",
            hint="whoever writes there answers in the gate's place: take a directory of its own, as /run/keyturn-gate-local",
        )


def _others_put_there(held: os.stat_result, *, itself: bool) -> bool:
    if held.st_uid not in (0, os.geteuid()):
        return True
    if stat.S_ISLNK(held.st_mode):
        return False
    shared = bool(held.st_mode & (stat.S_IWGRP | stat.S_IWOTH))
    # In /tmp (sticky) nobody moves what is another's: that is enough above the directory, where the gate's own is.
    return shared and (itself or not held.st_mode & stat.S_ISVTX)


def _remove_left(path: Path) -> None:
    """Remove a socket that a process before left behind; what is none, or answers, stays."""
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise Usage(
                "socket-taken", f"expected a socket or nothing at `{path}`", hint="choose another path in gate.toml"
            )
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            if asking.connect_ex(str(path)) != errno.ECONNREFUSED:
                raise Conflict("already-running", f"somebody answers at `{path}`", hint="stop the other one")
        path.unlink()
