"""Answer requests for this machine alone: for a service that no proxy stands before.

It listens on 127.0.0.1, and a browser on that machine runs the pages of anybody. A page whose name was given that address
meanwhile (DNS rebinding) is of one origin with the service, as its browser sees it, and would read who asks for what; but in Host
it says its own name. Behind a proxy, the names are the proxy's to know.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from litestar.enums import ScopeType

from keyturn.errors import Refused

if TYPE_CHECKING:
    from litestar.types import ASGIApp, Receive, Scope, Send

__all__ = ["for_this_machine"]

_HERE: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})
_HOST: Final = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9._-]{1,253})(?::[0-9]{1,5})?", re.ASCII)


def for_this_machine(address: Callable[[], str | None]) -> Callable[[ASGIApp], ASGIApp]:
    """Let through what is asked of this machine by any port, or of the host of `address`, the service's configured base URL."""

    def around(app: ASGIApp) -> ASGIApp:
        async def alone(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == ScopeType.HTTP:
                _require([value for name, value in scope["headers"] if name.lower() == b"host"], address)
            await app(scope, receive, send)

        return alone

    return around


def _require(said: list[bytes], address: Callable[[], str | None]) -> None:
    found = _HOST.fullmatch(said[0].decode("latin-1").lower()) if len(said) == 1 else None
    if found is None or (found[1] not in _HERE and found[1] != urlsplit(address() or "").hostname):
        raise Refused(
            "http-host",
            "expected a request for this machine, got one for another host",
            hint="127.0.0.1 or localhost; behind a proxy: keyturn serve --behind-proxy",
        )
