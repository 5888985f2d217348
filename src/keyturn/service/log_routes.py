"""The log's routes: takes records in, and serves the log's static files. A mailbox; nobody believes its answers.

POST /submit                     one envelope or trust version -> {"index": n, "leaf": {...}}
GET  /checkpoint  /tile/...      C2SP tlog-tiles
GET  /envelope/<sha256>          content-addressed
GET  /trust/root.json  /trust/metadata/...  /trust/targets/...     the lab's TUF repository
GET  /index/record?prefix=&kind=   /index/about?tag=   /index/kinds?kinds=&start=     look-ups (never evidence)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import anyio.to_thread
import msgspec
from litestar import Request, Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery

from keyturn.app.records.submit import Admission, Submitted
from keyturn.errors import Malformed, Unavailable
from keyturn.formats.checkpoint import SIZE_MAX
from keyturn.formats.digest import check_path, parse_sha256
from keyturn.formats.leaf import KINDS, Kind
from keyturn.formats.tile import TilePath
from keyturn.ports import IndexedRecord, LogReader, RecordIndex
from keyturn.service.login import OPEN
from keyturn.service.openapi import takes

__all__ = ["RECORD_BYTES_MAX", "log_routes"]

RECORD_BYTES_MAX = 1 << 20
_IMMUTABLE = {"Cache-Control": "public, max-age=31536000, immutable"}
_FRESH = {"Cache-Control": "no-store"}
_BYTES = "application/octet-stream"
_TEXT = "text/plain; charset=utf-8"


def log_routes(
    *,
    admission: Admission,
    log: LogReader,
    index: RecordIndex,
    tile: Callable[[TilePath], bytes],
    trust_file: Callable[[str], bytes | None],
    appended: Callable[[], None],
) -> list[HTTPRouteHandler]:
    """Make the handlers. `appended` is called after each append, `tile` and `trust_file` read static files."""

    @post("/submit", request_max_body_size=RECORD_BYTES_MAX, status_code=200, opt=takes())
    async def submit(request: Request[Any, Any, Any]) -> Response[Submitted]:
        """Append one record. Durable when this answers, in force once witnessed; the same record again has the same index."""
        raw = await request.body()
        submitted = await anyio.to_thread.run_sync(admission.submit, raw)
        appended()
        return Response(submitted)

    @get("/checkpoint", media_type=_TEXT, sync_to_thread=True, opt=OPEN)
    def checkpoint() -> Response[bytes]:
        """The newest witnessed checkpoint, a signed note."""
        return Response(log.checkpoint(), media_type=_TEXT, headers=_FRESH)

    @get("/tile/{rest:path}", media_type=_BYTES, sync_to_thread=True)
    def tiles(rest: FromPath[str]) -> Response[bytes]:
        """A tile or an entry bundle of the log: C2SP tlog-tiles."""
        path = f"tile/{rest.removeprefix('/')}"
        return _found(path, partial(tile, TilePath.parse(path)))

    @get("/envelope/{digest:str}", media_type=_BYTES, sync_to_thread=True)
    def envelope(digest: FromPath[str]) -> Response[bytes]:
        """The envelope with this SHA-256."""
        return _found(f"envelope/{digest}", partial(log.envelope, parse_sha256(digest)))

    @get("/trust/{rest:path}", media_type=_BYTES, sync_to_thread=True)
    def trust(rest: FromPath[str]) -> Response[bytes]:
        """A file of the lab's TUF repository."""
        path = check_path(rest.removeprefix("/"))
        known = path == "root.json" or path.startswith(("metadata/", "targets/"))
        raw = trust_file(path) if known else None
        if raw is None:
            raise _absent(f"trust/{path}")
        return Response(raw, media_type=_BYTES, headers=_FRESH)

    @get("/index/record", sync_to_thread=True)
    def by_record(prefix: FromQuery[str], kind: FromQuery[str | None] = None) -> Response[tuple[IndexedRecord, ...]]:
        """Records whose digest begins with `prefix`, in log order."""
        if len(prefix) > 64 or prefix.strip("0123456789abcdef"):
            raise Malformed("record-prefix", "expected up to 64 lower-case hex digits")
        return _records(index.by_record(prefix, None if kind is None else _kind(kind)))

    @get("/index/about", sync_to_thread=True)
    def about(tag: FromQuery[str]) -> Response[tuple[IndexedRecord, ...]]:
        """Records that concern what `tag` names, in log order."""
        return _records(index.about(tag))

    @get("/index/kinds", sync_to_thread=True)
    def of_kinds(kinds: FromQuery[str], start: FromQuery[int] = 0) -> Response[tuple[IndexedRecord, ...]]:
        """Records of these kinds (separated by commas), from log index `start` on."""
        if not 0 <= start <= SIZE_MAX:
            raise Malformed("record-start", f"expected a log index of 0 to {SIZE_MAX}")
        return _records(index.of_kinds(frozenset(_kind(kind) for kind in kinds.split(",")), start=start))

    return [submit, checkpoint, tiles, envelope, trust, by_record, about, of_kinds]


def _kind(text: str) -> Kind:
    if text not in KINDS:
        raise Malformed("record-kind", "expected kinds of records, as `req`")
    kind: Kind = msgspec.convert(text, Kind)
    return kind


def _records(found: Sequence[IndexedRecord]) -> Response[tuple[IndexedRecord, ...]]:
    return Response(tuple(found), headers=_FRESH)


def _found(path: str, read: Callable[[], bytes]) -> Response[bytes]:
    try:
        return Response(read(), media_type=_BYTES, headers=_IMMUTABLE)
    except Unavailable as err:
        raise _absent(path) from err


def _absent(path: str) -> Unavailable:
    return Unavailable("not-found", f"`/{path[:200]}` is not there")
