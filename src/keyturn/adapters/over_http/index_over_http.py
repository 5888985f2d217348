"""Look records up at a lab's service: `ports.RecordIndex` over `GET /index/...`, for whoever has no copy of the log's index.

Nothing that it answers is believed. Answers are bounded, and checked for shape and against the question; that a record is where
the index says is proved by whoever acts on it (`app.records.find_record`), and that nothing was left out only by reading the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Annotated
from urllib.parse import urlencode

import msgspec
from msgspec import Meta

from keyturn.adapters.over_http.http_client import Credentials, HttpClient
from keyturn.errors import Malformed
from keyturn.formats.built import built
from keyturn.formats.checkpoint import SIZE_MAX
from keyturn.formats.digest import Sha256
from keyturn.formats.leaf import Kind
from keyturn.formats.text import HexDigest, PosixTime
from keyturn.ports import IndexedRecord

__all__ = ["IndexOverHttp"]

_RECORDS_MAX = 1000
_ANSWER_BYTES_MAX = 1 << 20


class _Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    index: Annotated[int, Meta(ge=0, le=SIZE_MAX)]
    kind: Kind
    record: HexDigest
    envelope: HexDigest
    until: PosixTime | None = None


class IndexOverHttp:
    """The index of the service at the base URL `url`. Thread-safe. `credentials` are what it is shown, if there are any."""

    def __init__(self, url: str, *, timeout_s: float = 30.0, credentials: Credentials | None = None) -> None:
        self._client = HttpClient(url, timeout_s=timeout_s, credentials=credentials)

    def by_record(self, prefix: str, kind: Kind | None = None) -> Sequence[IndexedRecord]:
        found = self._ask("record", [("prefix", prefix), *([("kind", kind)] if kind is not None else [])])
        if any(not one.record.startswith(prefix) or kind not in (None, one.kind) for one in found):
            raise _other("record")
        return found

    def about(self, tag: str) -> Sequence[IndexedRecord]:
        return self._ask("about", [("tag", tag)])

    def of_kinds(self, kinds: Iterable[Kind], *, start: int = 0) -> Sequence[IndexedRecord]:
        wanted = sorted(set(kinds))
        found = self._ask("kinds", [("kinds", ",".join(wanted)), ("start", str(start))])
        if any(one.kind not in wanted or one.index < start for one in found):
            raise _other("kinds")
        return found

    def _ask(self, what: str, question: list[tuple[str, str]]) -> tuple[IndexedRecord, ...]:
        raw = self._client.get(f"/index/{what}?{urlencode(question)}", size_bytes_max=_ANSWER_BYTES_MAX)
        try:
            found = msgspec.json.decode(raw, type=built(Annotated[list[_Record], Meta(max_length=_RECORDS_MAX)]))
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as err:
            raise Malformed("index-answer", f"`/index/{what}`: expected a list of records") from err
        if any(a.index >= b.index for a, b in pairwise(found)):
            raise Malformed("index-answer", f"`/index/{what}`: expected records in log order, each once")
        return tuple(
            IndexedRecord(one.index, one.kind, Sha256(one.record), Sha256(one.envelope), one.until) for one in found
        )


def _other(what: str) -> Malformed:
    return Malformed("index-answer", f"`/index/{what}`: expected the records that were asked for, got others")
