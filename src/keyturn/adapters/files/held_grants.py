"""Note which grants this user's processes hold the key of, so that another terminal, scp and rsync find it. No note has a key.

    <XDG_RUNTIME_DIR, or /tmp/keyturn-UID>/keyturn-ssh/<host>.<pid>

A note is believed only as far as the process that it names still has the key (`adapters.keys.session_key`), which the kernel lets
its own user read and nobody else.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from keyturn.adapters.files import durable_files
from keyturn.adapters.files.plain_files import read_plain
from keyturn.errors import Malformed, Refused, Unavailable
from keyturn.formats import canonical_json
from keyturn.formats.text import PosixTime

__all__ = ["HeldGrant", "find_held", "held", "parse"]


class HeldGrant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A grant whose key another process of this user holds: which request, for which account, until when, and where the key
    is. Through a `bastion` its SSH server's key is in `known_hosts`, under its name."""

    version: Literal[1]
    request: Annotated[str, Meta(pattern=r"\Areq-[0-9a-f]{32}\Z")]
    account: Annotated[str, Meta(pattern=r"\A[a-z_][a-z0-9._-]{0,31}\Z")]
    ends_at: PosixTime
    identity: Annotated[str, Meta(pattern=r"\A/proc/[0-9]{1,10}/fd/[0-9]{1,6}\Z")]
    bastion: Annotated[str, Meta(pattern=r"\A(?:[a-z0-9][a-z0-9._-]{0,62})?\Z")] = ""
    known_hosts: Annotated[str, Meta(pattern=r"\A(?:/proc/[0-9]{1,10}/fd/[0-9]{1,6})?\Z")] = ""


def parse(raw: bytes) -> HeldGrant:
    """Parse the note of a held grant, or raise `Malformed`."""
    return canonical_json.decode(raw, HeldGrant, what="held grant")


@contextmanager
def held(host: str, grant: HeldGrant) -> Iterator[None]:
    """Note that this process holds the key of `grant` at `host`, for as long as the block runs."""
    path = _place() / f"{host}.{os.getpid()}"
    try:
        durable_files.replace(path, canonical_json.encode(grant), mode=0o600, directory_mode=0o700)
        yield
    finally:
        path.unlink(missing_ok=True)


def find_held(host: str, *, account: str | None, now: int) -> HeldGrant | None:
    """The grant at `host` whose key another process of this user holds, and that lasts longest; None without any."""
    found = []
    for path in sorted(_place().glob(f"{host}.[0-9]*")):
        try:
            one = parse(read_plain(path, size_bytes_max=4096))
            alive = str(Path(one.identity).readlink()).startswith("/memfd:keyturn-session")
        except (OSError, Malformed):
            continue
        if not alive:
            path.unlink(missing_ok=True)
        elif one.ends_at > now and account in (None, one.account):
            found.append(one)
    return max(found, key=lambda one: one.ends_at, default=None)


def _place() -> Path:
    given = os.environ.get("XDG_RUNTIME_DIR")
    place = Path(given or f"/tmp/keyturn-{os.getuid()}") / "keyturn-ssh"  # noqa: S108  # its owner and mode are looked at
    try:
        durable_files.make_directories(place, mode=0o700)
        steps = [one.lstat() for one in ((place,) if given else (place, place.parent))]
    except OSError as err:
        raise Unavailable(
            "session-directory", f"cannot use `{place}`: {err.strerror}", hint="set XDG_RUNTIME_DIR"
        ) from err
    # In /tmp anybody can make the directory above first, and then lead to whatever of ours he likes.
    if steps[0].st_mode & 0o077 or any(
        one.st_uid != os.getuid() or not stat.S_ISDIR(one.st_mode) or one.st_mode & 0o022 for one in steps
    ):
        raise Refused("session-directory-open", f"others can use `{place}`", hint=f"chmod 700 {place}")
    return place
