"""Serve the signing page on this machine, for one task.

One server lives for one task, at the port that the roster pins for `localhost`, on both addresses of that name: else another user
of the machine could listen on the one that browsers try first, and his page would be of the pinned origin.
"""

from __future__ import annotations

import errno
import re
import secrets
import socket
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

from keyturn.adapters.sign_page.answering import Content, Door, PageServer, handler, serve
from keyturn.adapters.sign_page.files import MEDIA_TYPES, page_file
from keyturn.adapters.sign_page.task import Outcome, Task
from keyturn.errors import Unavailable, Usage
from keyturn.formats import canonical_json

__all__ = ["LOCAL", "answer_here"]

LOCAL: Final = re.compile(r"http://localhost:([1-9][0-9]{0,4})\Z", re.ASCII)
"""Origins that this machine can serve."""

_NO_SUCH_ADDRESS = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
"""This machine has no IPv6."""


def answer_here(task: Task, *, origin: str, open_page: Callable[[str], None], within_s: float) -> bytes:
    """Serve the page for `task` at `origin`, have it opened, and return what it posts; raises as `Outcome.answer`."""
    found = LOCAL.match(origin)
    if found is None:
        raise Usage("signing-page-elsewhere", f"`{origin}` is no page that this machine can serve")
    said = canonical_json.encode(task)

    def page(name: str) -> Content | None:
        if name == "task":
            return said, "application/json"
        name = name or "index.html"
        return (page_file(name), MEDIA_TYPES[name]) if name in MEDIA_TYPES else None

    door = Door(origin.removeprefix("http://"), secrets.token_urlsafe(24), origin, Outcome())
    with ExitStack() as stack:
        serve(_listening(int(found[1]), door, page, stack), stack)
        open_page(f"{origin}/{door.token}/")
        door.outcome.done.wait(within_s)
    return door.outcome.answer()


class _Server6(PageServer):
    address_family: int = socket.AF_INET6


def _listening(port: int, door: Door, page: Callable[[str], Content | None], stack: ExitStack) -> list[PageServer]:
    """A server at each address of `localhost` that this machine has; none when anybody else listens at one of them."""
    servers: list[PageServer] = []
    for kind, address in ((PageServer, "127.0.0.1"), (_Server6, "::1")):
        try:
            server = kind((address, port), handler(door, page=page))
        except (OSError, OverflowError) as err:
            if kind is _Server6 and isinstance(err, OSError) and err.errno in _NO_SUCH_ADDRESS:
                continue
            raise Unavailable(
                "signing-page-port",
                f"the signing page cannot be served at `{door.origin}` ({address}): {err}",
                hint="another command may be waiting for its passkey there: finish or stop it first",
            ) from err
        stack.callback(server.server_close)
        servers.append(server)
    return servers
