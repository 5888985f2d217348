"""Derive the key that a bastion proves to a host from the session key of the person: `ports.bastion.HopKeys`.

    seed = HKDF-SHA256(secret, info = "keyturn.dev/bastion-hop/v1" LF session key)

So a bastion that is asked for keys by anybody stores nothing, and one that was started again goes on. The secret never leaves its
file; a key opens only what a live request that names it was granted, from the bastion's address.
"""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from keyturn.adapters.files import durable_files
from keyturn.crypto.keys import PublicKey
from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import Unavailable

__all__ = ["HopKeysFile", "make_secret"]

_SECRET_BYTES = 32


def make_secret(path: Path) -> None:
    """Make the secret at `path`, unless there is one."""
    if not path.exists():
        durable_files.create(path, os.urandom(_SECRET_BYTES), mode=0o600, directory_mode=0o700)


class HopKeysFile:
    """The keys out of the secret at `path`, which is read once."""

    def __init__(self, path: Path) -> None:
        try:
            self._secret = path.read_bytes()
        except OSError as err:
            raise Unavailable("bastion-secret", f"`{path}` cannot be read: {err.strerror}") from err
        if len(self._secret) != _SECRET_BYTES:
            raise Unavailable("bastion-secret", f"`{path}`: expected {_SECRET_BYTES} bytes")

    def public(self, session_key: str) -> PublicKey:
        return SoftwareKey(self._private(session_key)).public

    def openssh(self, session_key: str) -> bytes:
        """The private key, as OpenSSH writes it."""
        return self._private(session_key).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )

    def _private(self, session_key: str) -> ed25519.Ed25519PrivateKey:
        info = f"keyturn.dev/bastion-hop/v1\n{session_key}".encode()
        derived = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=info).derive(self._secret)
        return ed25519.Ed25519PrivateKey.from_private_bytes(derived)
