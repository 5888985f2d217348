"""Hold the private key of one session in memory, where OpenSSH's clients of the same user can read it, and nowhere else.

The key lies in an anonymous file (memfd_create(2)) of this process: never on a disk, in no agent, and gone with the process.
ssh opens it as `/proc/<pid>/fd/<fd>`. Which grants this user holds so is noted in a directory of his own, without any key, so
that another terminal, scp and rsync find it: `<XDG_RUNTIME_DIR or /tmp/keyturn-UID>/keyturn-ssh/<host>`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Annotated, Literal, Self

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from msgspec import Meta

from keyturn.adapters import durable_files
from keyturn.crypto.keys import PublicKey
from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import Malformed, Refused, Unavailable
from keyturn.formats import canonical_json
from keyturn.formats.text import PosixTime

__all__ = ["HeldGrant", "SessionKey", "find_held", "held", "parse"]


class SessionKey:
    """A new Ed25519 key for one request."""

    def __init__(self) -> None:
        private = ed25519.Ed25519PrivateKey.generate()
        self.public: PublicKey = SoftwareKey(private).public
        self._fd = os.memfd_create("keyturn-session", os.MFD_CLOEXEC)
        os.fchmod(self._fd, 0o600)
        os.write(
            self._fd,
            private.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
            ),
        )

    @property
    def path(self) -> str:
        """Where a client of this user reads the key while this process lives."""
        return f"/proc/{os.getpid()}/fd/{self._fd}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)


class HeldGrant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A grant whose key another process of this user holds: which request, for which account, until when, and where the key
    is."""

    version: Literal[1]
    request: Annotated[str, Meta(pattern=r"\Areq-[0-9a-f]{32}\Z")]
    account: Annotated[str, Meta(pattern=r"\A[a-z_][a-z0-9._-]{0,31}\Z")]
    ends_at: PosixTime
    identity: Annotated[str, Meta(pattern=r"\A/proc/[0-9]{1,10}/fd/[0-9]{1,6}\Z")]


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
            one = parse(path.read_bytes())
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
        status = place.stat()
    except OSError as err:
        raise Unavailable(
            "session-directory", f"cannot use `{place}`: {err.strerror}", hint="set XDG_RUNTIME_DIR"
        ) from err
    if status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise Refused("session-directory-open", f"others can use `{place}`", hint=f"chmod 700 {place}")
    return place
