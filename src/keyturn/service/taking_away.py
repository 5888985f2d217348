"""What every gate serves besides its own: `POST /negative`, by which it hears at once of what takes access away.

POST /negative    a signed denial, revocation or suspension -> the gate's statement that it obeys it (`formats.gate_answer`)

Who can reach the port can take away nothing that its signer may not: the gate verifies all of it, and waits for the log no longer
than `LOOK_WITHIN_S`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
from litestar import Request, Response, post

from keyturn.service.openapi import takes

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

__all__ = ["LOOK_WITHIN_S", "NEGATIVE_BYTES_MAX", "taking_away"]

LOOK_WITHIN_S = 2.0
"""How long a gate may look at the log before it judges what was given to it by what it knows already."""
NEGATIVE_BYTES_MAX = 64 * 1024


def taking_away(obey: Callable[[bytes], bytes], look: Callable[[], None]) -> HTTPRouteHandler:
    """The route of one gate: `look` reads the log, then `obey` obeys what takes away, and gives the gate's word for it."""

    @post("/negative", request_max_body_size=NEGATIVE_BYTES_MAX, status_code=200, opt=takes("application/json"))
    async def taken_away(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Obey a signed denial, revocation or suspension at once; the answer is the gate's own statement that it does."""
        negative = await request.body()
        with anyio.move_on_after(LOOK_WITHIN_S):
            await anyio.to_thread.run_sync(look, abandon_on_cancel=True)
        return Response(await anyio.to_thread.run_sync(obey, negative), media_type="application/json")

    return taken_away
