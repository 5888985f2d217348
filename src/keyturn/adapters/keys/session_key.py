"""Hold the private key of one session in memory, where OpenSSH's clients of the same user can read it, and nowhere else.

The key lies in an anonymous file (memfd_create(2)) of this process: never on a disk, in no agent, and gone with the process. ssh
opens it as `/proc/<pid>/fd/<fd>`.
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import Self

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from keyturn.crypto.keys import PublicKey
from keyturn.crypto.signers import SoftwareKey

__all__ = ["SessionKey"]


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
