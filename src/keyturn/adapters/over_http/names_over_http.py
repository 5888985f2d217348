"""List names that a lab's service knows, for whoever types one and has the lab's address alone: as `names_on_disk` does.

Nothing is verified here, and nothing may act on it: it is what a shell offers while somebody types. Each question has a moment,
and raises whatever asking raises.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from keyturn.adapters.files.names_on_disk import OFFERED_MAX, NameKind, among, names_in
from keyturn.adapters.over_http.http_client import Credentials
from keyturn.adapters.over_http.index_over_http import IndexOverHttp
from keyturn.adapters.over_http.log_over_http import LogOverHttp
from keyturn.formats import checkpoint, note, trust_version
from keyturn.formats.leaf import KINDS, Kind
from keyturn.formats.records import record_id

__all__ = ["names", "record_ids"]

_TIMEOUT_S = 0.4
_LOOKED_AT = 1000
"""The newest entries of the log: ids of older ones are typed, and few of those live."""


def record_ids(url: str, kinds: Sequence[str], *, begins: str, now: int, credentials: Credentials | None) -> list[str]:
    """Ids of records of `kinds` (of all when empty) that are not over, newest first."""
    log = LogOverHttp(url, timeout_s=_TIMEOUT_S, credentials=credentials)
    size = checkpoint.parse_body(note.parse(log.checkpoint()).text).size
    index = IndexOverHttp(url, timeout_s=_TIMEOUT_S, credentials=credentials)
    wanted = msgspec.convert(list(kinds) or sorted(KINDS), list[Kind])
    found = index.of_kinds(wanted, start=max(0, size - _LOOKED_AT))
    living = (record_id(one.kind, one.record) for one in reversed(found) if one.until is None or one.until > now)
    return [name for name in living if name.startswith(begins)][:OFFERED_MAX]


def names(url: str, kind: NameKind, *, begins: str, credentials: Credentials | None) -> list[str]:
    """Names of `kind` in the last targets version that the log has, in order."""
    *_, last = IndexOverHttp(url, timeout_s=_TIMEOUT_S, credentials=credentials).of_kinds(["tgt"])
    raw = LogOverHttp(url, timeout_s=_TIMEOUT_S, credentials=credentials).envelope(last.envelope)
    files = trust_version.parse(raw).files

    def texts(of: str) -> Iterator[str]:
        yield from (content.decode() for name, content in files if name.startswith(of))

    return among(names_in(kind, texts), begins=begins)
