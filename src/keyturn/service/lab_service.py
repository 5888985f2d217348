"""The lab's service: takes records in, and serves the log's static files. It is a mailbox; nobody believes its answers.

POST /submit                     one envelope or trust version -> {"index": n, "leaf": {...}}
GET  /checkpoint  /tile/...      C2SP tlog-tiles
GET  /envelope/<sha256>          content-addressed
GET  /trust/root.json  /trust/metadata/...  /trust/targets/...     the lab's TUF repository
GET  /processes                  {"gate-release": "http://...", ...}: where the builder and the gates are
GET  /index/record?prefix=&kind=   /index/about?tag=   /index/kinds?kinds=&start=     look-ups (never evidence)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import msgspec
from litestar import Request, Response, get, post
from litestar.params import FromPath, FromQuery

from keyturn.adapters.clock import SystemClock
from keyturn.app.submit import Admission, Quotas
from keyturn.errors import Malformed, Unavailable
from keyturn.formats.checkpoint import SIZE_MAX
from keyturn.formats.digest import check_path, parse_sha256
from keyturn.formats.leaf import KINDS, Kind
from keyturn.formats.tile import TilePath
from keyturn.ports import IndexedRecord, LogReader, RecordIndex
from keyturn.service import shell
from keyturn.service.log_publisher import Publisher
from keyturn.service.metrics import Metrics
from keyturn.wiring import log as wiring
from keyturn.wiring.log_keys import key_ring
from keyturn.wiring.places import find_lab
from keyturn.wiring.trust import trust_store

if TYPE_CHECKING:
    from litestar import Litestar

__all__ = ["RECORD_BYTES_MAX", "create_app", "serve_lab"]

RECORD_BYTES_MAX = 1 << 20
FRESHEN_S = 20
"""How old an idle log's cosignatures get before the witnesses are asked again."""
_IMMUTABLE = {"Cache-Control": "public, max-age=31536000, immutable"}
_FRESH = {"Cache-Control": "no-store"}
_BYTES = "application/octet-stream"


def create_app(
    *,
    admission: Admission,
    log: LogReader,
    index: RecordIndex,
    tile: Callable[[TilePath], bytes],
    trust_file: Callable[[str], bytes | None],
    appended: Callable[[], None],
    processes: Callable[[], Mapping[str, str]],
    metrics: Metrics | None = None,
) -> Litestar:
    """Make the service. `appended` is called after each append, `tile` and `trust_file` read static files.

    `processes` says where the lab's builder and gates are, for people who have this service's address alone.
    """

    @post("/submit", request_max_body_size=RECORD_BYTES_MAX, status_code=200)
    async def submit(request: Request[Any, Any, Any]) -> Response[bytes]:
        raw = await request.body()
        submitted = await anyio.to_thread.run_sync(admission.submit, raw)
        appended()
        body = msgspec.json.encode({"index": submitted.index, "leaf": submitted.leaf})
        return Response(body, media_type="application/json")

    @get("/checkpoint", sync_to_thread=True)
    def checkpoint() -> Response[bytes]:
        return Response(log.checkpoint(), media_type="text/plain; charset=utf-8", headers=_FRESH)

    @get("/tile/{rest:path}", sync_to_thread=True)
    def tiles(rest: FromPath[str]) -> Response[bytes]:
        return _found(partial(tile, TilePath.parse(f"tile/{rest.removeprefix('/')}")))

    @get("/envelope/{digest:str}", sync_to_thread=True)
    def envelope(digest: FromPath[str]) -> Response[bytes]:
        return _found(partial(log.envelope, parse_sha256(digest)))

    @get("/trust/{rest:path}", sync_to_thread=True)
    def trust(rest: FromPath[str]) -> Response[bytes]:
        path = check_path(rest.removeprefix("/"))
        if path != "root.json" and not path.startswith(("metadata/", "targets/")):
            return _absent()
        raw = trust_file(path)
        return _absent() if raw is None else Response(raw, media_type=_BYTES, headers=_FRESH)

    @get("/index/record", sync_to_thread=True)
    def by_record(prefix: FromQuery[str], kind: FromQuery[str | None] = None) -> Response[bytes]:
        if len(prefix) > 64 or prefix.strip("0123456789abcdef"):
            raise Malformed("record-prefix", "expected up to 64 lower-case hex digits")
        return _records(index.by_record(prefix, None if kind is None else _kind(kind)))

    @get("/index/about", sync_to_thread=True)
    def about(tag: FromQuery[str]) -> Response[bytes]:
        return _records(index.about(tag))

    @get("/index/kinds", sync_to_thread=True)
    def of_kinds(kinds: FromQuery[str], start: FromQuery[int] = 0) -> Response[bytes]:
        if not 0 <= start <= SIZE_MAX:
            raise Malformed("record-start", f"expected a log index of 0 to {SIZE_MAX}")
        return _records(index.of_kinds(frozenset(_kind(kind) for kind in kinds.split(",")), start=start))

    @get("/processes", sync_to_thread=True)
    def addresses() -> Response[bytes]:
        return Response(msgspec.json.encode(processes()), media_type="application/json", headers=_FRESH)

    handlers = [submit, checkpoint, tiles, envelope, trust, by_record, about, of_kinds, addresses]
    return shell.build(handlers, metrics=metrics)


def serve_lab(directory: Path, *, port: int, quotas: Quotas) -> None:
    """Serve the lab in `directory` until told to stop, and publish its log."""
    clock = SystemClock()
    with wiring.lab_log(directory, quotas=quotas) as lab:
        publisher = Publisher(
            lab.log,
            keys=key_ring(directory),
            trust=lab.trust,
            earlier=lambda: lab.admission.earlier_logs,
            witnesses=lambda logs: wiring.witnesses_of(directory, *logs),
            clock=clock,
            freshen_s=FRESHEN_S,
        )
        metrics = Metrics()
        metrics.gauge("keyturn_log_entries", "Entries under the published checkpoint.", lambda: publisher.published[0])
        metrics.gauge("keyturn_log_published_seconds", "When it was published (POSIX).", lambda: publisher.published[1])
        app = create_app(
            metrics=metrics,
            admission=lab.admission,
            log=lab.log,
            index=lab.index,
            tile=lab.log.tile,
            trust_file=trust_store(directory).read_file,
            appended=publisher.wake,
            processes=lambda: find_lab(str(directory)).processes(),
        )
        publisher.start()
        try:
            shell.serve(app, name="service", run_dir=directory / "run", port=port)
        finally:
            publisher.stop()


def _kind(text: str) -> Kind:
    if text not in KINDS:
        raise Malformed("record-kind", "expected kinds of records, as `req`")
    kind: Kind = msgspec.convert(text, Kind)
    return kind


def _records(found: Sequence[IndexedRecord]) -> Response[bytes]:
    return Response(msgspec.json.encode(found), media_type="application/json", headers=_FRESH)


def _found(read: Callable[[], bytes]) -> Response[bytes]:
    try:
        return Response(read(), media_type=_BYTES, headers=_IMMUTABLE)
    except Unavailable:
        return _absent()


def _absent() -> Response[bytes]:
    return Response(b"", status_code=404, media_type=_BYTES, headers=_FRESH)
