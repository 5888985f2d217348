"""Time, chance and waiting, and the software keys of this machine."""

from __future__ import annotations

from typing import Protocol

from keyturn.crypto.signers import SoftwareKey

__all__ = ["Clock", "Entropy", "KeyStore", "Pause", "Running"]


class Clock(Protocol):
    """Tell the time."""

    def now(self) -> int:
        """POSIX seconds."""


class Entropy(Protocol):
    """Make what nobody can guess."""

    def nonce(self) -> str:
        """16 random bytes as 32 lower-case hex digits."""


class Pause(Protocol):
    """Wait a moment: a test's own does not."""

    def __call__(self, seconds: float) -> None:
        """Return after about `seconds`."""


class Running(Protocol):
    """Tell how long this machine runs: from any beginning, and set by nobody. What it slept may be missing."""

    def __call__(self) -> float:
        """Seconds."""


class KeyStore(Protocol):
    """Software keys by name (`member`, `trust`, `log`, `online`, `north`), each kept where its owner alone reads."""

    def create(self, name: str) -> SoftwareKey:
        """Make a key and keep it durably; `Refused` `key-exists` when there is one: a key is never overwritten."""

    def read(self, name: str) -> SoftwareKey:
        """The key `name`; `Usage` when there is none, `Refused` when others could have read it, else `Unavailable`."""
