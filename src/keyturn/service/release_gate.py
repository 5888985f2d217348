"""The release gate over HTTP: takes an order, answers with the pack, or with every reason why not.

POST /release     a release order (`formats.release_order`) -> the pack
POST /negative    a signed denial, revocation or suspension -> the gate's statement that it obeys it (`formats.gate_answer`)

Who can reach the port can release nothing that people did not grant, and take away nothing that its signer may not: the gate
verifies all of it. One order at a time; what takes away waits for no order, and for the log no longer than `LOOK_WITHIN_S`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
from litestar import Request, Response, get, post

from keyturn.service import shell
from keyturn.service.openapi import takes

if TYPE_CHECKING:
    from litestar import Litestar

__all__ = ["create_app"]


LOOK_WITHIN_S = 2.0
"""How long a gate may look at the log before it judges what was given to it by what it knows already."""
NEGATIVE_BYTES_MAX = 64 * 1024


def create_app(
    release: Callable[[bytes], bytes],
    *,
    obey: Callable[[bytes], bytes],
    look: Callable[[], None],
    about: dict[str, str],
) -> Litestar:
    """Make the service of one gate: `release` carries out an order, `obey` what takes away, before which `look` reads the log."""
    one_at_a_time = threading.Lock()

    def carry_out(order: bytes) -> bytes:
        with one_at_a_time:
            return release(order)

    @post("/release", media_type="application/octet-stream", status_code=200, opt=takes())
    async def ordered(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Carry out a release order: the pack, or every reason why not."""
        order = await request.body()
        return Response(await anyio.to_thread.run_sync(carry_out, order), media_type="application/octet-stream")

    @post("/negative", request_max_body_size=NEGATIVE_BYTES_MAX, status_code=200, opt=takes("application/json"))
    async def taken_away(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Obey a signed denial, revocation or suspension at once; the answer is the gate's own statement that it does."""
        negative = await request.body()
        with anyio.move_on_after(LOOK_WITHIN_S):
            await anyio.to_thread.run_sync(look, abandon_on_cancel=True)
        return Response(await anyio.to_thread.run_sync(obey, negative), media_type="application/json")

    @get("/about")
    async def say() -> dict[str, str]:
        """The gate's URI, and the root that its operator pinned."""
        return about

    return shell.build([ordered, taken_away, say], title="A release gate")
