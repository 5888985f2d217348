"""Serve the signing page on this machine, for one task.

One server lives for one task, at the port that the roster pins for `localhost`, on both addresses of that name: else another user
of the machine could listen on the one that browsers try first, and his page would be of the pinned origin.

Whoever listened at that port at another time, and had the person's browser there once, may have left a service worker in it,
which answers in this page's place. So what is opened is a page at a port that nobody could know before: it has the browser forget
all that it keeps of the pinned origin, which is the same site and may be told so from there, and goes on to the page itself.
"""

from __future__ import annotations

import errno
import re
import secrets
import socket
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

from keyturn.adapters.sign_page.answering import FORGET, Content, Door, PageServer, handler, serve
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
        if name == FORGET:
            return b"", "text/plain"
        name = name or "index.html"
        return (page_file(name), MEDIA_TYPES[name]) if name in MEDIA_TYPES else None

    door = Door(origin.removeprefix("http://"), secrets.token_urlsafe(24), origin, Outcome())
    with ExitStack() as stack:
        serve(_listening(int(found[1]), door, page, stack), stack)
        open_page(_forgetting_first(f"{origin}/{door.token}/", stack))
        door.outcome.done.wait(within_s)
    return door.outcome.answer()


def _forgetting_first(url: str, stack: ExitStack) -> str:
    """Serve a page that has the browser forget what it keeps of `url`'s origin before it goes there; where that page is.

    It holds no script: a refresh waits for the whole page, and so for the image that the answer never is.
    """
    text = f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta http-equiv="refresh" content="0;url={url}"><title>Keyturn</title></head>
<body><img src="{url}{FORGET}" alt=""></body>
</html>
"""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    door = Door(
        host=f"localhost:{port}",
        token=secrets.token_urlsafe(24),
        origin="",  # nobody posts there
        outcome=Outcome(),
        csp=f"default-src 'none'; img-src {url}{FORGET}; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    )
    serve(
        _listening(port, door, lambda name: None if name else (text.encode(), MEDIA_TYPES["index.html"]), stack), stack
    )
    return f"http://{door.host}/{door.token}/"


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
