"""What the use cases need from the world, as Protocols: the only way for effects to reach `app`.

Each method's docstring states its atomicity. Every adapter, the in-memory ones included, passes the contract suite
in tests/contracts/. Nothing here has a body, and the core below never imports this file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from keyturn.formats.digest import Sha256

__all__ = ["Clock", "Entropy", "LogReader", "LogWriter"]


class Clock(Protocol):
    """Tell the time."""

    def now(self) -> int:
        """POSIX seconds."""


class Entropy(Protocol):
    """Make what nobody can guess."""

    def nonce(self) -> str:
        """16 random bytes as 32 lower-case hex digits."""


class LogReader(Protocol):
    """Read a log, from disk, from memory or over HTTP. Nothing it returns is believed: callers verify it."""

    def checkpoint(self) -> bytes:
        """The newest signed checkpoint with the cosignatures it has by now (a signed note)."""

    def leaves(self, start: int, end: int) -> Sequence[bytes]:
        """Leaves `start <= i < end`, all of them, or raise `Unavailable`."""

    def hashes(self, level: int, start: int, end: int) -> Sequence[bytes]:
        """Tree hashes at `level` (0 is leaf hashes), of complete subtrees only, or raise `Unavailable`."""

    def envelope(self, digest: Sha256) -> bytes:
        """The envelope with that SHA-256 (checked by the adapter), or raise `Unavailable`."""


class LogWriter(Protocol):
    """Append to the log."""

    def append(self, envelope: bytes) -> int:
        """Make one record durable and return its index; the same record again returns the index it has.

        Returns after the batch with the record is on disk: acknowledged is durable. In force is another thing:
        see `app.await_witnessed`.
        """
