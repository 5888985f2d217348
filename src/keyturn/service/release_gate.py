"""The release gate over HTTP: takes an order, answers with the pack, or with every reason why not.

POST /release     a release order (`formats.release_order`) -> the pack
POST /negative    what takes access away (`service.taking_away`)

Who can reach the port can release nothing that people did not grant, and take away nothing that its signer may not: the gate
verifies all of it. One order at a time; what takes away waits for no order.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import anyio.to_thread
from litestar import Request, Response, get, post

from keyturn.service import shell
from keyturn.service.openapi import takes
from keyturn.service.taking_away import taking_away

if TYPE_CHECKING:
    from litestar import Litestar

__all__ = ["create_app"]


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

    @get("/about")
    async def say() -> dict[str, str]:
        """The gate's URI, and the root that its operator pinned."""
        return about

    return shell.build([ordered, taking_away(obey, look), say], title="A release gate")
