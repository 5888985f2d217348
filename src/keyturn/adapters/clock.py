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
    """`ports.Running` from Linux's clock that counts on while the machine sleeps; elsewhere from one that may not."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
