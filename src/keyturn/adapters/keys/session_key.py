"""Hold the private key of one session in memory, where clients that this user runs can read it, and nowhere else.

The key lies in an anonymous file (memfd_create(2)) of this process: never on a disk, in no agent, and gone with the process. ssh
and libpq open it as `/proc/<pid>/fd/<fd>`, each in the form that it reads.
"""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import Self

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from keyturn.adapters.keys.memory_file import MemoryFile
from keyturn.crypto.keys import PublicKey
from keyturn.crypto.signers import SoftwareKey

__all__ = ["SessionKey", "known_host"]


class SessionKey:
    """A new Ed25519 key for one request."""

    def __init__(self) -> None:
        private = ed25519.Ed25519PrivateKey.generate()
        self.signer = SoftwareKey(private)
        self.public: PublicKey = self.signer.public
        self._held = ExitStack()
        self._ssh = self._held.enter_context(
            MemoryFile(
                "keyturn-session",
                private.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
                ),
            )
        )

    @property
    def path(self) -> str:
        """Where OpenSSH's clients read the key while this process lives."""
        return self._ssh.path

    def path_for_tls(self) -> str:
        """Where clients of OpenSSL read the key (PKCS #8) while this process lives; made anew each time."""
        return self._held.enter_context(MemoryFile("keyturn-session-tls", self.signer.render(passphrase=None))).path

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()


def known_host(alias: str, line: str) -> MemoryFile:
    """A known_hosts file of one line, in memory too: the host called `alias` has the key `line`, and no other."""
    return MemoryFile("keyturn-known-host", f"{alias} {line}\n".encode("ascii"))
