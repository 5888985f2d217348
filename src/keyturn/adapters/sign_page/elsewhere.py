"""Have a task signed on the page that another operator serves, and take its answer on this machine.

The task goes in the URL's fragment, which no server ever sees. The page posts what it says as a form to a port of this machine
that lives for this task: a navigation, which browsers allow where they do not let a public page call a private address. Whoever
else opens the page with a task of his own making shows a person something to sign, and the answer goes to his own machine.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs

from keyturn.adapters.sign_page.answering import Content, Door, PageServer, handler, serve
from keyturn.adapters.sign_page.files import page_file
from keyturn.adapters.sign_page.task import Outcome, Task
from keyturn.errors import Unavailable
from keyturn.formats import base64_text, canonical_json

__all__ = ["answer_elsewhere"]

_HERE = "127.0.0.1"


def answer_elsewhere(task: Task, *, origin: str, open_page: Callable[[str], None], within_s: float) -> bytes:
    """Have the page at `origin` opened for `task`, and return what it posts here; raises as `Outcome.answer`."""
    token, outcome = secrets.token_urlsafe(24), Outcome()
    with ExitStack() as stack:
        try:
            server = PageServer((_HERE, 0), BaseHTTPRequestHandler)
        except OSError as err:
            raise Unavailable(
                "signing-page-port", f"no answer could be taken at {_HERE}: {err}", hint="run it again"
            ) from err
        stack.callback(server.server_close)
        door = Door(f"{_HERE}:{server.server_port}", token, origin, outcome)
        server.RequestHandlerClass = handler(  # names the port, which is known now
            door, page=lambda name: None, said=_form_body, thanks=_thanks
        )
        serve((server,), stack)
        given = canonical_json.encode({"reply": f"http://{door.host}/{token}/", "task": task})
        fragment = base64_text.encode(given).translate(str.maketrans("+/", "-_")).rstrip("=")
        open_page(f"{origin}/#{fragment}")
        outcome.done.wait(within_s)
    return outcome.answer()


def _form_body(body: bytes) -> bytes:
    found = parse_qs(body.decode("ascii", "replace"), max_num_fields=4).get("body", [""])
    return found[0].encode()


def _thanks(verdict: str) -> Content:
    return page_file("done.html" if verdict == "answer" else "not-signed.html"), "text/html; charset=utf-8"
