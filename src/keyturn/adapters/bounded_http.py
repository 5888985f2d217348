"""One exchange over HTTP with a bound on everything: the bytes of the answer, and the time of the whole exchange.

urllib3's time-outs are for each read: a server that sends a byte now and then would hold its client for hours. So each exchange
has a deadline, at which its connection is shut down, whatever it waits for.

This is NOT where an answer is understood: see `http_client` and `witness_over_http`.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

__all__ = ["BoundedHttp", "TooLate", "TooLong"]

_CONNECT_WITHIN_S = 5.0


class TooLong(Exception):
    """The answer has more bytes than were asked for."""


class TooLate(Exception):
    """There was no whole answer within the time of an exchange, or none at all."""


class _Watch:
    """The connection of one exchange, which is shut down when its time is over."""

    def __init__(self, within_s: float) -> None:
        self._connection: HTTPConnection | None = None
        self._over = False
        self._timer = threading.Timer(within_s, self._end)
        self._timer.daemon = True
        self._timer.start()

    def take(self, connection: HTTPConnection) -> None:
        self._connection = connection
        if self._over:
            self._end()

    def stop(self) -> None:
        self._timer.cancel()

    def _end(self) -> None:
        self._over = True
        held = getattr(self._connection, "sock", None)
        if held is not None:
            try:
                held.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it has ended by itself


_WATCH: ContextVar[_Watch | None] = ContextVar("watch", default=None)


class _Watched(HTTPConnection):
    def request(self, *args: Any, **more: Any) -> None:
        watch = _WATCH.get()
        if watch is not None:
            if self.sock is None:
                self.connect()
            watch.take(self)
        super().request(*args, **more)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"  # as urllib3 puts it before what went wrong, which people read


class _WatchedTls(_Watched, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Watched  # type: ignore[mutable-override]  # as urllib3 asks for


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedTls  # type: ignore[mutable-override]  # as urllib3 asks for


class BoundedHttp:
    """Exchanges with one server. Thread-safe; connections are kept, and nothing is tried twice."""

    def __init__(self, url: str, *, within_s: float, connections: int) -> None:
        self.url = url.rstrip("/")
        self._within_s = within_s
        self._pools = urllib3.PoolManager(
            num_pools=2,
            maxsize=connections,
            retries=False,
            timeout=urllib3.Timeout(connect=min(_CONNECT_WITHIN_S, within_s), read=within_s),
        )
        self._pools.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}

    def exchange(
        self,
        method: str,
        path: str,
        body: bytes | None,
        *,
        size_bytes_max: int,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> tuple[int, bytes]:
        """Give the status and the whole answer; `TooLong` or `TooLate` otherwise. A body is bytes unless `headers` say what."""
        sent = ({"Content-Type": "application/octet-stream"} if body is not None else {}) | dict(headers)
        watch = _Watch(self._within_s)
        token = _WATCH.set(watch)
        try:
            answer = self._pools.request(
                method, self.url + path, body=body, headers=sent, redirect=False, preload_content=False
            )
            content: bytes = answer.read(size_bytes_max + 1)
            answer.release_conn()
        except (urllib3.exceptions.HTTPError, OSError) as err:
            raise TooLate(str(err)) from err
        finally:
            watch.stop()
            _WATCH.reset(token)
        if len(content) > size_bytes_max:
            raise TooLong(f"more than {size_bytes_max} bytes")
        return answer.status, content
