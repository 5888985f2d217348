"""The connections of a server: who does not say what he wants holds none for long, and none that somebody else needs.

The head of a request must come within `HEAD_TIMEOUT_S` of the connection, or of its own first byte. And when `CONNECTIONS_MAX`
are open, a new one takes the place of whoever kept the server waiting longest: nothing said, half a head, half a body, or an
answer that he does not read. Of all addresses the one that keeps it waiting most often loses first: who floods from an address
of his own loses his own places, and behind a proxy, where all have its address, the longest wait alone decides. Whoever asks at
once is not waited for, so nobody can keep him out by waiting. Connections of whole requests that are being answered are not
taken: past `CONNECTIONS_MAX` of those the server says 503.

At a Unix socket places are others than at the port, as many again: whoever floods a gate's socket takes none of those by which
it hears of what takes access away. And who was sent away, or went, before his request was whole counts no more from that moment:
uvicorn goes on counting him until the work on his request has noticed.

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
    lane = "port"

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        local = local_peers.client_of(transport)
        self.lane = "port" if local is None else "socket"
        self.places, self.begun = self.limit_concurrency, set[asyncio.Task[None]]()
        self._make_room()
        super().connection_made(transport)
        self.client = local or self.client
        self.since = self.loop.time()
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def handle_events(self) -> None:
        # uvicorn counts all connections and tasks alike: it is told that there is room, or none.
        working = sum(task.get_name() == self.lane for task in self.tasks)
        full = self.places is not None and max(len(self._beside()), working) >= self.places
        self.limit_concurrency = 0 if full else None
        before = set(self.tasks)
        super().handle_events()
        for task in self.tasks - before:
            task.set_name(self.lane)
            task.add_done_callback(self.begun.discard)
            self.begun.add(task)

    def on_response_complete(self) -> None:
        self.since = self.loop.time()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        if self._is_answering() and self.cycle.more_body:
            self.tasks -= self.begun
        super().connection_lost(exc)

    def _beside(self) -> list[PatientWithFew]:
        return [one for one in self.connections if isinstance(one, PatientWithFew) and one.lane == self.lane]

    def _make_room(self) -> None:
        beside = self._beside()
        # The one that asks is counted as well: with this one, fewer than `places` may be there.
        if self.places is None or len(beside) + 1 < self.places:
            return
        longest = longest_of_most(
            (one, one.client[0] if one.client is not None else "", one.since) for one in beside if one.keeps_waiting()
        )
        if longest is not None:
            self.connections.discard(longest)  # its loss is told later, and more may come meanwhile
            self.tasks -= longest.begun
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
