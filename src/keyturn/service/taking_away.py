"""What every gate serves besides its own: `POST /negative`, by which it hears at once of what takes access away.

POST /negative    a signed denial, revocation or suspension -> the gate's statement that it obeys it (`formats.gate_answer`)

Who can reach the port can take away nothing that its signer may not: the gate verifies all of it, and waits for the log no longer
than `LOOK_WITHIN_S`. A flood does not keep the gate from hearing either: what takes away has threads of its own, and looks at
the log are one thread's work, however many wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
from litestar import Request, Response, post

from keyturn.grants.pushed import read_pushed
from keyturn.service.openapi import takes

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

__all__ = ["LOOK_WITHIN_S", "NEGATIVE_BYTES_MAX", "taking_away"]

LOOK_WITHIN_S = 2.0
"""How long a gate may look at the log before it judges what was given to it by what it knows already."""
NEGATIVE_BYTES_MAX = 64 * 1024
_THREADS = 4


def taking_away(obey: Callable[[bytes], bytes], look: Callable[[], None]) -> HTTPRouteHandler:
    """The route of one gate: `look` reads the log, then `obey` obeys what takes away, and gives the gate's word for it."""
    looked, threads = _Looks(look), anyio.CapacityLimiter(_THREADS)

    @post("/negative", request_max_body_size=NEGATIVE_BYTES_MAX, status_code=200, opt=takes("application/json"))
    async def taken_away(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Obey a signed denial, revocation or suspension at once; the answer is the gate's own statement that it does."""
        negative = await request.body()
        read_pushed(negative)  # nobody looks at the log for what is none
        with anyio.move_on_after(LOOK_WITHIN_S):
            await looked.one_that_begins_now()
        return Response(await anyio.to_thread.run_sync(obey, negative, limiter=threads), media_type="application/json")

    return taken_away


class _Looks:
    """Looks at the log, one at a time; whoever comes during one waits for the next, with everybody else."""

    def __init__(self, look: Callable[[], None]) -> None:
        self._look = look
        self._thread = anyio.CapacityLimiter(1)
        self._going: asyncio.Task[None] | None = None
        self._next: asyncio.Task[None] | None = None

    async def one_that_begins_now(self) -> None:
        """Return after a look that began after this was called."""
        if self._next is None:
            self._next = asyncio.create_task(self._after(self._going))
        await asyncio.shield(self._next)

    async def _after(self, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait((before,))
        self._going, self._next = self._next, None
        await anyio.to_thread.run_sync(self._look, limiter=self._thread, abandon_on_cancel=True)
