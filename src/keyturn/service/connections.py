"""The connections of a server: who does not say what he wants holds none for long, and none that somebody else needs.

The head of a request must come within `HEAD_TIMEOUT_S` of the connection, or of its own first byte. And when `CONNECTIONS_MAX`
are open, a new one takes the place of whoever kept the server waiting longest: nothing said, half a head, half a body, or an
answer that he does not read. Of all addresses the one that keeps it waiting most often loses first: who floods from an address
of his own loses his own places, and behind a proxy, where all have its address, the longest wait alone decides. Whoever asks at
once is not waited for, so nobody can keep him out by waiting. Connections of whole requests that are being answered are not
taken: past `CONNECTIONS_MAX` of those the server says 503.

This is no defence against whoever asks much, which `service.rates` bounds, or from many addresses: that is the proxy's.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

from keyturn.adapters.client_network import longest_of_most
from keyturn.service import local_peers

__all__ = ["CONNECTIONS_MAX", "HEAD_TIMEOUT_S", "PatientWithFew"]

CONNECTIONS_MAX = 256
HEAD_TIMEOUT_S = 10.0


class PatientWithFew(H11Protocol):
    """uvicorn's HTTP/1.1, which by itself waits for ever for a request to begin and for its head to end, and when all places
    are taken answers nobody.
    """

    head_timeout_s = HEAD_TIMEOUT_S
    _timer: asyncio.TimerHandle | None = None
    since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        self._make_room()
        super().connection_made(transport)
        self.client = local_peers.client_of(transport) or self.client
        self.since = self.loop.time()
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        self.since = self.loop.time()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def _make_room(self) -> None:
        # uvicorn counts the one that asks as well: with this one, fewer than `limit_concurrency` may be there.
        if self.limit_concurrency is None or len(self.connections) + 1 < self.limit_concurrency:
            return
        of_ours = (one for one in self.connections if isinstance(one, PatientWithFew))
        longest = longest_of_most(
            (one, one.client[0] if one.client is not None else "", one.since) for one in of_ours if one.keeps_waiting()
        )
        if longest is not None:
            self.connections.discard(longest)  # its loss is told later, and more may come meanwhile
            longest.transport.abort()

    def keeps_waiting(self) -> bool:
        """Whether it is this client whom all waits for, and not he who waits for us."""
        unread = self.transport.get_write_buffer_size() > 0
        return unread or not self._is_answering() or self.cycle.more_body

    def _watch(self) -> None:
        if self._is_answering():
            self._forget()
        elif self._timer is None:
            self._timer = self.loop.call_later(self.head_timeout_s, self._too_slow)

    def _forget(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _is_answering(self) -> bool:
        # uvicorn says that `cycle` is always there; before the first request it is None.
        return bool(self.cycle) and not self.cycle.response_complete

    def _too_slow(self) -> None:
        self._timer = None
        if not self._is_answering():
            self.transport.close()
