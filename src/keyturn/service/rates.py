"""How many requests one client address may make: a bucket of tokens for what it writes, and a larger one for what it reads.

A bucket fills at its rate, and holds `BURST_S` seconds of it. An address is an IPv4 address or an IPv6 /64 network: who has one
address of a /64 has all of them. At most `ADDRESSES_MAX` are remembered, the longest unseen forgotten first, so memory is bounded
and each request costs the same. `/health` and `/metrics` are asked at any rate; a path that is
not there costs nothing, and is not counted.

This bounds what one address can cost everybody else, and nothing more: how much a signer may append is `app.records.submit`'s
to say, whatever address it comes from. Behind a proxy, the address is the proxy's unless `serve` is told to believe what it
forwards.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from litestar.enums import ScopeType

from keyturn.adapters.client_network import network_of
from keyturn.errors import Unavailable

if TYPE_CHECKING:
    from litestar.types import ASGIApp, Receive, Scope, Send

__all__ = ["BURST_S", "RateLimit", "Rates"]

BURST_S: Final = 10
ADDRESSES_MAX: Final = 10_000
_EXEMPT: Final = frozenset({"/health", "/metrics"})
_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Rates:
    """Requests per second that one address may make in the long run. What reads is cheap: static files, mostly."""

    writes: float = 200.0
    reads: float = 2000.0

    def __post_init__(self) -> None:
        if not (self.writes > 0 and self.reads > 0):
            raise ValueError("expected rates above 0")


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class RateLimit:
    """The buckets of one process. Used by its event loop alone; `clock` gives seconds that never go back."""

    def __init__(self, rates: Rates, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._rates = rates
        self._clock = clock
        self._buckets: OrderedDict[tuple[str, bool], _Bucket] = OrderedDict()

    def take(self, address: str, *, reading: bool) -> None:
        """Take one token of `address`, or raise `Unavailable` `too-many-requests`, saying when there will be one."""
        rate = self._rates.reads if reading else self._rates.writes
        now, most = self._clock(), max(rate * BURST_S, 1.0)
        key = (network_of(address), reading)
        bucket = self._buckets.pop(key, None)
        tokens = most if bucket is None else min(most, bucket.tokens + (now - bucket.at) * rate)
        self._buckets[key] = _Bucket(max(tokens - 1, 0) if tokens >= 1 else tokens, now)
        if len(self._buckets) > ADDRESSES_MAX:
            self._buckets.popitem(last=False)
        if tokens < 1:
            raise Unavailable(
                "too-many-requests",
                f"expected at most {rate:g} requests a second from one address, {'reading' if reading else 'writing'}",
                hint="wait as long as Retry-After says; whoever runs the service chooses the rate: keyturn serve --rate N",
                retry_after_s=math.ceil((1 - tokens) / rate),
            )

    def around(self, app: ASGIApp) -> ASGIApp:
        """Let through to `app` what is within the limit."""

        async def limited(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == ScopeType.HTTP and scope["path"] not in _EXEMPT:
                client = scope["client"]
                self.take(client[0] if client is not None else "", reading=scope["method"] in _READING)
            await app(scope, receive, send)

        return limited
