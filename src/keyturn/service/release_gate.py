"""The release gate over HTTP: takes an order, answers with the pack, or with every reason why not.

POST /release     a release order (`formats.release_order`) -> the pack
POST /negative    what takes access away (`service.taking_away`)

Who can reach the port can release nothing that people did not grant, and take away nothing that its signer may not: the gate
verifies all of it. One order at a time, and so many wait their turn; what takes away waits for no order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
from litestar import Request, Response, get, post

from keyturn.errors import Unavailable
from keyturn.service import shell
from keyturn.service.metrics import Metrics
from keyturn.service.openapi import takes
from keyturn.service.taking_away import taking_away

if TYPE_CHECKING:
    from litestar import Litestar

__all__ = ["WAITING_MAX", "create_app"]

WAITING_MAX = 32
"""How many orders may wait: fewer than a process answers at once, so that a flood of orders keeps none from being refused."""


def create_app(
    release: Callable[[bytes], bytes],
    *,
    obey: Callable[[bytes], bytes],
    look: Callable[[], None],
    about: dict[str, str],
    log_size: Callable[[], int],
) -> Litestar:
    """Make the service of one gate: `release` carries out an order, `obey` what takes away, before which `look` reads the log.

    `log_size` is up to where the gate has read it: what takes access away below that is in force here, whoever told it or not.
    """
    metrics = Metrics()
    metrics.gauge("keyturn_gate_log_entries", "Entries of the log that the gate has read.", log_size)
    in_turn, taken = anyio.CapacityLimiter(1), 0

    @post("/release", media_type="application/octet-stream", status_code=200, opt=takes())
    async def ordered(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Carry out a release order: the pack, or every reason why not."""
        nonlocal taken
        order = await request.body()
        if taken > WAITING_MAX:
            raise Unavailable(
                "gate-busy",
                f"{WAITING_MAX} orders wait for this gate already",
                hint="run it again; if it lasts, whoever runs the gate finds out who orders so much",
                retry_after_s=5,
            )
        taken += 1
        try:
            pack = await anyio.to_thread.run_sync(release, order, limiter=in_turn)
        finally:
            taken -= 1
        return Response(pack, media_type="application/octet-stream")

    @get("/about")
    async def say() -> dict[str, str]:
        """The gate's URI, and the root that its operator pinned."""
        return about

    return shell.build([ordered, taking_away(obey, look), say], title="A release gate", metrics=metrics)
