"""One exchange over HTTP with a bound on everything: the bytes of the answer, and the time of the whole exchange.

urllib3's time-outs are for each read: a server that sends a byte now and then would hold its client for hours. So each exchange
has a deadline, at which its connection is shut down, whatever it waits for.

This is NOT where an answer is understood: see `http_client` and `witness_over_http`.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

__all__ = ["BoundedHttp", "TlsFailed", "TooLate", "TooLong"]

_CONNECT_WITHIN_S = 5.0


class TooLong(Exception):
    """The answer has more bytes than were asked for."""


class TooLate(Exception):
    """There was no whole answer within the time of an exchange, or none at all."""


class TlsFailed(TooLate):
    """There was no whole answer, since one of the two sides did not accept the other's certificate: `cause` says why."""

    def __init__(self, cause: ssl.SSLError) -> None:
        super().__init__(str(cause))
        self.cause = cause


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
        self._connections = connections
        self._lock = threading.Lock()
        self._tls: ssl.SSLContext | None = None
        self._pools = self._pools_with(None)

    def exchange(
        self,
        method: str,
        path: str,
        body: bytes | None,
        *,
        size_bytes_max: int,
        headers: Mapping[str, str] = MappingProxyType({}),
        tls: ssl.SSLContext | None = None,
    ) -> tuple[int, bytes]:
        """Give the status and the whole answer; `TooLong` or `TooLate` otherwise. A body is bytes unless `headers` say what.

        `tls` holds the certificate to show, if there is one; another one than the last time takes connections of its own.
        """
        with self.opened(method, path, body, headers=headers, tls=tls) as answer:
            content: bytes = answer.read(size_bytes_max + 1)
        if len(content) > size_bytes_max:
            raise TooLong(f"more than {size_bytes_max} bytes")
        return answer.status, content

    @contextmanager
    def opened(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        headers: Mapping[str, str] = MappingProxyType({}),
        tls: ssl.SSLContext | None = None,
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        """Give the answer when its head is there, to be read in the block, for which the deadline holds too; or `TooLate`."""
        sent = ({"Content-Type": "application/octet-stream"} if body is not None else {}) | dict(headers)
        watch = _Watch(self._within_s)
        answer = None
        try:
            token = _WATCH.set(watch)
            try:
                answer = self._pools_for(tls).request(
                    method, self.url + path, body=body, headers=sent, redirect=False, preload_content=False
                )
            finally:
                _WATCH.reset(token)
            yield answer
        except (urllib3.exceptions.HTTPError, OSError) as err:
            cause = _tls_error(err)
            raise (TooLate(str(err)) if cause is None else TlsFailed(cause)) from err
        finally:
            watch.stop()
            if answer is not None:
                if not answer.closed:  # whoever reads it stopped: what is left is not where another answer begins
                    answer.close()
                answer.release_conn()

    def _pools_for(self, tls: ssl.SSLContext | None) -> urllib3.PoolManager:
        with self._lock:
            if tls is not self._tls:
                self._tls, self._pools = tls, self._pools_with(tls)
            return self._pools

    def _pools_with(self, tls: ssl.SSLContext | None) -> urllib3.PoolManager:
        pools = urllib3.PoolManager(
            num_pools=2,
            maxsize=self._connections,
            retries=False,
            timeout=urllib3.Timeout(connect=min(_CONNECT_WITHIN_S, self._within_s), read=self._within_s),
            ssl_context=tls,
        )
        pools.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
        return pools


def _tls_error(err: BaseException) -> ssl.SSLError | None:
    """What TLS said, where that is why there is no answer; urllib3 wraps it."""
    inner = err.args[0] if err.args and isinstance(err.args[0], BaseException) else err
    return next((one for one in (err, inner, err.__cause__) if isinstance(one, ssl.SSLError)), None)
