"""A postgres gate over HTTP: certifies a session key for the role of its grant, and hears at once of what takes access away.

POST /certificate    a PEM certificate request, signed by the session key -> role, certificate, and where to connect
POST /negative       what takes access away (`service.taking_away`)
GET  /about          which gate and database this is, what time it has, and why it lets nobody in now, if it does not

The answer holds no secret: who connects proves the session key. People's connections go to the server, never through this.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import msgspec
from litestar import Request, get, post

from keyturn.service import shell
from keyturn.service.openapi import takes
from keyturn.service.taking_away import taking_away

if TYPE_CHECKING:
    from litestar import Litestar

__all__ = ["LetInByCertificate", "create_app"]

REQUEST_BYTES_MAX = 8 * 1024


class LetInByCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """As which role and by which certificate (PEM) to connect, where, and when the sessions end at the latest; `signed` is the
    same under the gate's key (`formats.gate_entry`)."""

    role: str
    certificate: str
    address: str
    port: int
    database: str
    ends_at: int
    signed: str


def create_app(
    let_in: Callable[[bytes], LetInByCertificate],
    *,
    obey: Callable[[bytes], bytes],
    look: Callable[[], None],
    about: Callable[[], dict[str, str]],
) -> Litestar:
    """Make the service of one gate: `let_in` answers a certificate request, `obey` obeys what takes away, after `look`."""

    @post("/certificate", request_max_body_size=REQUEST_BYTES_MAX, status_code=200, opt=takes("application/x-pem-file"))
    async def certified(request: Request[Any, Any, Any]) -> LetInByCertificate:
        """Certify the session key of a grant for its role, for a minute; or every reason why not."""
        asked = await request.body()
        return await anyio.to_thread.run_sync(let_in, asked)

    @get("/about")
    async def say() -> dict[str, str]:
        """The gate's URI, its database, the root that its operator pinned, its time, and why it is closed, if it is."""
        return await anyio.to_thread.run_sync(about)

    return shell.build([certified, taking_away(obey, look), say], title="A postgres gate")
