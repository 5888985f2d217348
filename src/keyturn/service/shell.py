"""What every server process shares: bounded requests, errors as JSON, and the address it can be found at.

A server binds a free port of 127.0.0.1 (or the one it is told) and says where in `run/<name>.json`. Nothing rests on that
file: whatever a server answers is verified by who asked. Bodies are bounded and must arrive within `BODY_TIMEOUT_S`; how long a
slow client holds its place is `service.connections`' to say. One address makes so many requests (`rates`). A service may answer
to who is logged in alone (`login`).
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import uvicorn
from litestar import Litestar, Response, get
from litestar.exceptions import HTTPException
from litestar.types import ASGIApp, Receive, ReceiveMessage, Scope, Send

from keyturn.adapters import process_log
from keyturn.adapters.files import run_files
from keyturn.adapters.over_http import errors_over_http
from keyturn.adapters.over_http.errors_over_http import Problem
from keyturn.errors import KeyturnError, Malformed, Unavailable, defect
from keyturn.service.connections import CONNECTIONS_MAX, PatientWithFew
from keyturn.service.login import OPEN, Login
from keyturn.service.metrics import Metrics
from keyturn.service.openapi import describe
from keyturn.service.rates import RateLimit, Rates

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from litestar import Request
    from litestar.handlers import HTTPRouteHandler

__all__ = [
    "BODY_BYTES_MAX",
    "BODY_TIMEOUT_S",
    "build",
    "document_of",
    "health",
    "serve",
]

BODY_BYTES_MAX = 4 << 20
BODY_TIMEOUT_S = 20.0
_DOCUMENT = "openapi"
_OF_TOKENS = frozenset({"login-invalid", "login-expired"})
"""What RFC 6750 calls an invalid token."""


def build(
    handlers: Sequence[HTTPRouteHandler],
    *,
    title: str,
    metrics: Metrics | None = None,
    body_timeout_s: float = BODY_TIMEOUT_S,
    rates: Rates | None = None,
    login: Login | None = None,
    around: Sequence[Callable[[ASGIApp], ASGIApp]] = (),
    **more: Any,
) -> Litestar:
    """Make a Litestar application of `handlers` with Keyturn's limits and error answers.

    Every service also has `GET /health`, `/metrics` and `/openapi.json`, which are open to everybody. `login` says who is let in
    to what is not open; without it everybody is. `around` are middlewares of one service alone, which look first.
    """
    counting = metrics or Metrics()
    document = cache(lambda: describe(every, title=title, ways=login.ways if login is not None else ()))

    @get("/openapi.json", opt=OPEN)
    async def openapi() -> Response[bytes]:
        """This document."""
        return Response(msgspec.json.encode(document()), media_type="application/json")

    every = [*handlers, health, counting.route, openapi]

    def error(request: Request[Any, Any, Any], err: KeyturnError) -> Response[bytes]:
        counting.refused(err)
        process_log.say("info", "request-refused", err=err, about=_about(request))
        return _answer(errors_over_http.of(err))

    def unexpected(request: Request[Any, Any, Any], err: Exception) -> Response[bytes]:
        said = defect(err)
        counting.refused(said)
        process_log.say("error", "defect", err=said, trace=True, about=_about(request))
        return _answer(errors_over_http.of(said, status=500))

    return Litestar(
        route_handlers=every,
        exception_handlers={KeyturnError: error, HTTPException: _http_error, Exception: unexpected},
        middleware=[
            counting.around,
            *around,
            RateLimit(rates or Rates()).around,
            *(() if login is None else (login.around,)),
            _timed_body(body_timeout_s),
        ],
        request_max_body_size=BODY_BYTES_MAX,
        openapi_config=None,
        logging_config=None,
        debug=False,
        opt={_DOCUMENT: document},
        **more,
    )


def document_of(app: Litestar) -> dict[str, Any]:
    """The OpenAPI document of an application that `build` made."""
    found: dict[str, Any] = app.opt[_DOCUMENT]()
    return found


@get("/health", opt=OPEN)
async def health() -> Response[dict[str, str]]:
    """Whether the process answers, and its software's version. What it believes and has is in `/metrics`."""
    return Response({"status": "pass", "version": version("keyturn")}, headers={"Cache-Control": "no-store"})


def serve(
    app: Litestar,
    *,
    name: str,
    run_dir: Path,
    port: int = 0,
    behind_proxy: bool = False,
    alone: bool = True,
    also: Sequence[socket.socket] = (),
) -> None:
    """Serve `app` on 127.0.0.1 until it is told to stop; its address is in `run_dir/<name>.json` while it does.

    `behind_proxy`: a proxy on this machine says in X-Forwarded-For who asks. Without it that header is whatever anybody writes.
    `alone`: a second process of this name in `run_dir` is refused. `also`: Unix sockets that it is served at besides, where each
    client is known by its user (`service.local_peers`).
    """
    # Said to be TCP, asyncio sets TCP_NODELAY; otherwise each answer waits 40 ms for the client's delayed acknowledgement.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", port))
        bound.listen(128)
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        config = uvicorn.Config(
            app,
            http=PatientWithFew,
            log_config=None,
            access_log=False,
            limit_concurrency=CONNECTIONS_MAX,
            timeout_keep_alive=15,
            lifespan="on",
            proxy_headers=behind_proxy,
            forwarded_allow_ips="127.0.0.1",
        )
        # uvicorn gives SIGTERM back to us once it has stopped: ending as any program does takes the address back.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        with run_files.published(run_dir, name, url, alone=alone):
            process_log.say("info", "serving", f"serving at {url}", about={"url": url})
            try:
                uvicorn.Server(config).run(sockets=[bound, *also])
            finally:
                process_log.say("info", "stopped")


def _answer(problem: Problem) -> Response[bytes]:
    headers = {} if problem.retry_after_s is None else {"Retry-After": str(problem.retry_after_s)}
    if problem.status == 401:
        headers["WWW-Authenticate"] = 'Bearer error="invalid_token"' if problem.code in _OF_TOKENS else "Bearer"
    return Response(
        errors_over_http.render(problem),
        status_code=problem.status,
        media_type=errors_over_http.MEDIA_TYPE,
        headers=headers,
    )


def _about(request: Request[Any, Any, Any]) -> dict[str, str | int]:
    """Method and route of a request: the template, never what stands in it. And the name of who is logged in, if it has one."""
    name = request.scope.get("user")
    return {
        "method": str(request.method),
        "route": str(request.scope.get("path_template") or "none"),
        **({"login": name} if isinstance(name, str) else {}),
    }


def _http_error(request: Request[Any, Any, Any], err: HTTPException) -> Response[bytes]:
    message = f"HTTP {err.status_code}: {err.detail}"[:300]
    asked_wrongly = 400 <= err.status_code < 500 and err.status_code != 404
    said = Malformed("http-error", message) if asked_wrongly else Unavailable("http-error", message)
    process_log.say("info", "request-refused", err=said, about=_about(request) | {"status": err.status_code})
    return _answer(errors_over_http.of(said, status=err.status_code))


def _timed_body(within_s: float) -> Callable[[ASGIApp], ASGIApp]:
    return lambda app: _in_time(app, within_s)


def _in_time(app: ASGIApp, within_s: float) -> ASGIApp:
    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        deadline = asyncio.get_running_loop().time() + within_s
        whole = False

        async def receive_in_time() -> ReceiveMessage:
            nonlocal whole
            if whole:
                return await receive()
            left = deadline - asyncio.get_running_loop().time()
            try:
                message = await asyncio.wait_for(receive(), timeout=max(left, 0))
            except TimeoutError:
                raise Malformed("body-too-slow", f"expected the whole body within {within_s:.0f} s") from None
            whole = not message.get("more_body", False)
            return message

        await app(scope, receive_in_time, send)

    return middleware
