"""Tell the time and make nonces, from the operating system: the only place that does, for `app`."""

from __future__ import annotations

import secrets
import time

__all__ = ["SystemClock", "SystemEntropy", "pause", "running"]


class SystemClock:
    """`ports.Clock` from the system's clock."""

    def now(self) -> int:
        return int(time.time())


class SystemEntropy:
    """`ports.Entropy` from the operating system's randomness."""

    def nonce(self) -> str:
        return secrets.token_hex(16)


def pause(seconds: float) -> None:
    """`ports.Pause`: wait."""
    time.sleep(seconds)


def running() -> float:
    """`ports.Running` from the clock that nobody sets."""
    return time.monotonic()
