"""Ask a release gate over HTTP. What it answers is verified like any pack, by whoever asked."""

from __future__ import annotations

from keyturn.adapters.over_http.http_client import HttpClient

__all__ = ["ReleaseOverHttp"]

_PACK_BYTES_MAX = 1 << 30


class ReleaseOverHttp:
    """`ports.ReleaseOrders` at the gate's `url`."""

    def __init__(self, url: str, *, timeout_s: float = 300.0) -> None:
        self._client = HttpClient(url, timeout_s=timeout_s)

    def release(self, order: bytes) -> bytes:
        return self._client.post("/release", order, size_bytes_max=_PACK_BYTES_MAX)
