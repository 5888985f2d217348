"""Keep software keys in files: PKCS#8 PEM, mode 0600, encrypted when there is a passphrase, never overwritten.

A key that others could have read is refused: by mode, by owner, or since the file is a symbolic link. The file appears
whole or not at all, and is durable before anybody learns its public key.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from keyturn.adapters.files import durable_files
from keyturn.crypto.keys import Scheme
from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import Refused, Unavailable, Usage

__all__ = ["KeyFiles", "read_key", "write_key"]

_BYTES_MAX = 16 * 1024


class KeyFiles:
    """`ports.KeyStore` in files. `path_of` says where the key of a name lies; `passphrase` is for all of them."""

    def __init__(self, path_of: Callable[[str], Path], *, passphrase: bytes | None, scheme: Scheme = "ed25519") -> None:
        self._path_of = path_of
        self._passphrase = passphrase
        self._scheme = scheme

    def create(self, name: str) -> SoftwareKey:
        key = SoftwareKey.generate(self._scheme)
        self.keep(name, key)
        return key

    def read(self, name: str) -> SoftwareKey:
        return read_key(self._path_of(name), passphrase=self._passphrase)

    def holds(self, name: str) -> bool:
        """Whether there is anything where the key `name` would lie."""
        return os.path.lexists(self._path_of(name))

    def keep(self, name: str, key: SoftwareKey) -> None:
        """Write `key`, which is new; `Refused` `key-exists` when there is one."""
        write_key(self._path_of(name), key, passphrase=self._passphrase)


class KeysInTheEnd:
    """`ports.KeyStore` whose new keys are in memory until `keep`: what fails in the meantime, as a wrong PIN, leaves no file.

    Call `keep` before anybody else learns their public keys: they are durable from then on. `again`: this finishes what failed
    half way, and takes the keys that were written then.
    """

    def __init__(self, files: KeyFiles, *, again: bool = False) -> None:
        self._files = files
        self._again = again
        self._made: dict[str, SoftwareKey] = {}

    def create(self, name: str) -> SoftwareKey:
        if self._again and name not in self._made and self._files.holds(name):
            return self._files.read(name)
        if name in self._made or self._files.holds(name):
            raise Refused(
                "key-exists",
                f"the key `{name}` is there already, and keys are never overwritten",
                hint="one home is one member of one lab: use another KEYTURN_HOME",
            )
        self._made[name] = SoftwareKey.generate()
        return self._made[name]

    def read(self, name: str) -> SoftwareKey:
        return self._made.get(name) or self._files.read(name)

    def keep(self) -> None:
        """Write the new keys."""
        for name, key in self._made.items():
            self._files.keep(name, key)


def write_key(path: Path, key: SoftwareKey, *, passphrase: bytes | None) -> None:
    """Write `key` to the new file `path`, durably; `Refused` `key-exists` when there is anything already."""
    try:
        durable_files.create(path, key.render(passphrase=passphrase), mode=0o600, directory_mode=0o700)
    except FileExistsError as err:
        raise Refused(
            "key-exists",
            f"`{path}` is there already, and keys are never overwritten",
            hint="one home is one member of one lab: use another KEYTURN_HOME",
        ) from err
    except OSError as err:
        raise Unavailable("key-unwritable", f"cannot write `{path}`: {err.strerror}") from err


def read_key(path: Path, *, passphrase: bytes | None) -> SoftwareKey:
    """Read the key at `path`.

    Raises: Usage `key-missing`, Unavailable `key-unreadable`, Refused `key-readable-by-others` and `key-passphrase`.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as err:
        raise Usage(
            "key-missing",
            f"expected a key at `{path}`, found none",
            hint="is KEYTURN_HOME yours? agents and workloads have no trust key",
        ) from err
    except OSError as err:
        raise Unavailable(
            "key-unreadable",
            f"cannot read the key `{path}`: {err.strerror}",
            hint="a key is a file of mode 0600 that is yours, and no link to one",
        ) from err
    try:
        about = os.fstat(fd)
        if not stat.S_ISREG(about.st_mode):
            raise Refused("key-no-file", f"expected a file at `{path}`, got something else")
        if about.st_mode & 0o077 or about.st_uid != os.geteuid():
            raise Refused(
                "key-readable-by-others",
                f"`{path}`: expected mode 0600 and you as its owner, got {stat.S_IMODE(about.st_mode):04o}",
                hint=f"chmod 600 {path}; if others could have read it, replace the key",
            )
        pem = os.read(fd, _BYTES_MAX)
    finally:
        os.close(fd)
    return SoftwareKey.parse(pem, passphrase=passphrase)
