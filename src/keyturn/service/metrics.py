"""What a server process counts of itself, for Prometheus at `GET /metrics`: requests, refusals by code, and gauges of its own.

Labels are bounded: routes are templates, and of codes that others may have made up only so many are told apart. No member, record
or reason is in a label: metrics go where the log's readers are not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from litestar import Response, get
from litestar.enums import ScopeType
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from keyturn.errors import KeyturnError

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler
    from litestar.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Metrics"]

_CODES_MAX = 200
_SECONDS = (0.001, 0.005, 0.025, 0.1, 0.25, 1.0, 5.0, 30.0)


class Metrics:
    """The counters of one process, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "keyturn_http_requests",
            "Answers, by route and status.",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "keyturn_http_request_seconds",
            "How long answers took.",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._refusals = Counter("keyturn_refusals", "Errors of ours, by code.", ("code",), registry=self._registry)
        self._codes: set[str] = set()

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Have `read` asked at each scrape; what cannot be found out is NaN, and harms no other figure."""

        def value() -> float:
            try:
                return read()
            except (KeyturnError, OSError):
                return math.nan

        Gauge(name, text, registry=self._registry).set_function(value)

    def refused(self, err: KeyturnError) -> None:
        """Count one error."""
        known = err.code in self._codes or len(self._codes) < _CODES_MAX
        if known:
            self._codes.add(err.code)
        self._refusals.labels(err.code if known else "other").inc()

    def render(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self._registry)

    @property
    def route(self) -> HTTPRouteHandler:
        """The handler of `GET /metrics`."""

        @get("/metrics", media_type="text/plain", sync_to_thread=True, opt={"open": True})
        def metrics() -> Response[bytes]:
            """What the process counts of itself, for Prometheus; nothing of whom it serves."""
            return Response(self.render(), media_type=CONTENT_TYPE_LATEST)

        return metrics

    def around(self, app: ASGIApp) -> ASGIApp:
        """Count each request that goes through `app`."""

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            begun, status = time.perf_counter(), 500

            async def sending(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = message["status"]
                await send(message)

            try:
                await app(scope, receive, sending)
            finally:
                if scope["type"] == ScopeType.HTTP:
                    route = str(scope.get("path_template") or "none")
                    self._requests.labels(str(scope["method"]), route, str(status)).inc()
                    self._seconds.labels(route).observe(time.perf_counter() - begun)

        return counted
