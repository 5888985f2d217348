"""A witness: C2SP tlog-witness over HTTP. Its state is durable before its cosignature leaves.

POST /add-checkpoint                       200 signature lines; 400 403 404 409 422 as the specification says
GET  /<sha256 of the origin>/checkpoint    the newest checkpoint that it cosigned
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio.to_thread
from litestar import Request, Response, get, post
from litestar.params import FromPath

from keyturn.adapters import process_log
from keyturn.adapters.clock import SystemClock
from keyturn.app.log.cosign_checkpoint import Witnessing, cosign_checkpoint
from keyturn.errors import Malformed, Refused
from keyturn.formats import add_checkpoint, note
from keyturn.formats.digest import sha256
from keyturn.ports import Clock, CosignStore
from keyturn.service import shell
from keyturn.service.openapi import takes
from keyturn.tlog.witness import Refusal
from keyturn.wiring.log import witness as wiring

if TYPE_CHECKING:
    from litestar import Litestar

__all__ = ["create_app", "serve_witness"]

_TEXT = "text/plain; charset=utf-8"


def create_app(witness: Witnessing, *, store: CosignStore, clock: Clock) -> Litestar:
    """Make the service of `witness`, which remembers in `store`."""
    one_at_a_time = threading.Lock()
    origins: dict[str, str] = {sha256(origin.encode()): origin for origin in witness.logs}

    def answer(raw: bytes) -> Response[bytes]:
        try:
            with one_at_a_time:
                made = cosign_checkpoint(witness, raw, store=store, clock=clock)
        except Malformed as err:
            process_log.say("info", "request-refused", err=err)
            return _text(400, f"{err}\n")
        except Refused as err:
            process_log.say("info", "request-refused", err=err)
            return _text(404 if err.code == "witness-log-unknown" else 403, f"{err}\n")
        if isinstance(made, Refusal):
            process_log.say("info", "not-cosigned", made.message, about={"why": made.code})
            if made.code == "other-size":
                return Response(f"{made.size}\n".encode(), status_code=409, media_type="text/x.tlog.size")
            return _text(made.status, f"{made.message}\n")
        return Response(note.render_signature_line(made), media_type=_TEXT)

    @post(
        "/add-checkpoint",
        request_max_body_size=add_checkpoint.SIZE_BYTES_MAX,
        media_type=_TEXT,
        status_code=200,
        opt=takes() | {"texts": True},
    )
    async def add(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Cosign a checkpoint that continues what was cosigned before: C2SP tlog-witness."""
        raw = await request.body()
        return await anyio.to_thread.run_sync(answer, raw)

    @get("/{origin_hash:str}/checkpoint", media_type=_TEXT, sync_to_thread=True, opt={"texts": True})
    def newest(origin_hash: FromPath[str]) -> Response[bytes]:
        """The newest checkpoint that was cosigned of the log whose origin has this SHA-256."""
        origin = origins.get(origin_hash)
        found = None if origin is None else store.read(origin)
        return _text(404, "never cosigned\n") if found is None else Response(found, media_type=_TEXT)

    return shell.build([add, newest], title="A witness")


def serve_witness(directory: Path, *, run_dir: Path, port: int) -> None:
    """Serve the witness in `directory` until told to stop; `Conflict` when another process is this witness."""
    with wiring.open_witness(directory) as (witness, store):
        app = create_app(witness, store=store, clock=SystemClock())
        shell.serve(app, name=f"witness-{witness.name}", run_dir=run_dir, port=port)


def _text(status: int, text: str) -> Response[bytes]:
    return Response(text.encode(), status_code=status, media_type=_TEXT)
