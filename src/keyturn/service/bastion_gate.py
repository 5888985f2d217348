"""A bastion over HTTP: which key it would prove to a host, and what every gate serves. Sessions come by SSH, never this way.

POST /bastion-key    a session key (SubjectPublicKeyInfo in base64) -> what a request says of this bastion
POST /watch          a signed `watch/v1` -> who may watch which request now, on a connection that proves the key in it
GET /host-key        the SSH server's key, with the gate's signature
POST /negative       what takes access away (`service.taking_away`)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import msgspec
from litestar import Request, Response, get, post

from keyturn.crypto.keys import PublicKey
from keyturn.errors import Malformed
from keyturn.formats.session_terms import BastionTerms
from keyturn.ports import Watching
from keyturn.service import shell
from keyturn.service.openapi import takes
from keyturn.service.taking_away import taking_away

if TYPE_CHECKING:
    from litestar import Litestar

__all__ = ["create_app"]

_KEY_BYTES_MAX = 400
_WATCH_BYTES_MAX = 64 << 10


def create_app(
    terms: Callable[[PublicKey], BastionTerms],
    *,
    watch: Callable[[bytes], Watching],
    host_key: str,
    host_key_proof: str,
    obey: Callable[[bytes], bytes],
    look: Callable[[], None],
    about: dict[str, str],
) -> Litestar:
    """Make the service of one bastion: `terms` gives what a request says of it; `watch` expects somebody who
    watches; `obey` obeys what takes away, before which `look` reads the log."""

    @post("/bastion-key", request_max_body_size=_KEY_BYTES_MAX, status_code=200, opt=takes("text/plain"))
    async def bastion_key(request: Request[Any, Any, Any]) -> Response[bytes]:
        """The key that this bastion proves to a host for a session, with its gate's signature. It is public: it opens nothing."""
        try:
            key = PublicKey.from_text((await request.body()).decode("ascii"))
        except UnicodeDecodeError as err:
            raise Malformed("key-invalid", "public key: expected base64 of SubjectPublicKeyInfo DER") from err
        made = await anyio.to_thread.run_sync(terms, key)
        return Response(msgspec.json.encode(made), media_type="application/json")

    @post("/watch", request_max_body_size=_WATCH_BYTES_MAX, status_code=200, opt=takes("application/json"))
    async def watching(request: Request[Any, Any, Any]) -> dict[str, str]:
        """Say that one watches what goes through under a request. Nothing is seen this way: he comes in by SSH with that key."""
        found = await anyio.to_thread.run_sync(watch, await request.body())
        return {"request": found.request, "member": found.member}

    @get("/host-key")
    async def own_key() -> dict[str, str]:
        """The key that this bastion's SSH server proves, and the gate's signature that it is."""
        return {"host_key": host_key, "proof": host_key_proof}

    @get("/about")
    async def say() -> dict[str, str]:
        """The gate's URI, where its SSH is, and the root that its operator pinned."""
        return about

    return shell.build([taking_away(obey, look), bastion_key, watching, own_key, say], title="A bastion")
