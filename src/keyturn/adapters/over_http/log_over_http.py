"""Read and append to a log over HTTP: `ports.LogReader` and `ports.LogWriter` at a lab's service or any copy of its files.

Reads are C2SP tlog-tiles plus `/envelope/<sha256>`; `POST /submit` appends. Answers are bounded and checked for shape;
nothing in them is believed: callers verify proofs, and compute leaves from envelopes.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

import msgspec

from keyturn.adapters.log_entry import ENVELOPE_BYTES_MAX
from keyturn.adapters.over_http.http_client import Credentials, HttpClient
from keyturn.errors import Malformed, Unavailable
from keyturn.formats import checkpoint as checkpoints
from keyturn.formats import note as notes
from keyturn.formats.built import built
from keyturn.formats.digest import Sha256, parse_sha256, sha256
from keyturn.formats.tile import ENTRY_BYTES_MAX, TILE_WIDTH, TilePath, parse_bundle
from keyturn.tlog.tiles import hash_reader

__all__ = ["LogOverHttp"]

_CHECKPOINT_BYTES_MAX = notes.SIZE_BYTES_MAX
_BUNDLE_BYTES_MAX = TILE_WIDTH * (ENTRY_BYTES_MAX + 2)  # what stands in the log is read, also what no leaf could be
_FULL_TILES_KEPT = 256


class _Submitted(msgspec.Struct, frozen=True):
    index: int


class LogOverHttp:
    """A log at the base URL `url`. Thread-safe. `credentials` are what it is shown, if there are any."""

    def __init__(self, url: str, *, timeout_s: float = 30.0, credentials: Credentials | None = None) -> None:
        self._client = HttpClient(url, timeout_s=timeout_s, credentials=credentials)
        self._size = 0
        """Size of the newest checkpoint seen: says how wide partial tiles are. Not believed for anything else."""
        self._lock = threading.Lock()
        self._kept: OrderedDict[TilePath, bytes] = OrderedDict()

    def checkpoint(self) -> bytes:
        raw = self._client.get("/checkpoint", size_bytes_max=_CHECKPOINT_BYTES_MAX)
        self._size = max(self._size, checkpoints.parse_body(notes.parse(raw).text).size)
        return raw

    def leaves(self, start: int, end: int) -> Sequence[bytes]:
        if not 0 <= start <= end:
            raise Unavailable("log-range", f"no leaves {start} to {end}")
        size = self._size_for(end)
        found: list[bytes] = []
        for index in range(start // TILE_WIDTH, -(-end // TILE_WIDTH)):
            first = index * TILE_WIDTH
            path = TilePath(None, index, min(TILE_WIDTH, size - first))
            try:
                found += parse_bundle(self._get(path), width=path.width)[max(0, start - first) : end - first]
            except Malformed as err:
                raise Unavailable("log-tile", f"`{path}` is damaged: {err.message}") from err
        if len(found) != end - start:
            raise Unavailable("log-range", f"expected leaves {start} to {end}, got {len(found)}")
        return found

    def hashes(self, level: int, start: int, end: int) -> Sequence[bytes]:
        if not 0 <= start <= end or not 0 <= level < 64:
            raise Unavailable("log-range", f"no subtrees {start} to {end} at level {level}")
        read = hash_reader(self._size_for(end << level), lambda *tile: self._get(TilePath(*tile)))
        try:
            return read(level, start, end)
        except Malformed as err:
            raise Unavailable("log-tile", f"a tile is damaged: {err.message}") from err

    def envelope(self, digest: Sha256) -> bytes:
        raw = self._client.get(f"/envelope/{parse_sha256(digest)}", size_bytes_max=ENVELOPE_BYTES_MAX)
        if sha256(raw) != digest:
            raise Unavailable("envelope-damaged", f"the log answered another envelope than `{digest[:16]}`")
        return raw

    def append(self, envelope: bytes) -> int:
        """Submit; the index that is returned is the service's word until `await_witnessed` has proved it."""
        raw = self._client.post("/submit", envelope, size_bytes_max=1 << 16)
        try:
            index = msgspec.json.decode(raw, type=built(_Submitted)).index
        except (msgspec.MsgspecError, UnicodeError) as err:
            raise Malformed("answer-invalid", "`/submit`: expected an index") from err
        if not 0 <= index <= checkpoints.SIZE_MAX:
            raise Malformed("answer-invalid", f"`/submit`: expected an index of 0 to {checkpoints.SIZE_MAX}")
        return index

    def _size_for(self, end: int) -> int:
        """A size whose tiles hold everything below `end`: that of the newest checkpoint, which static copies have."""
        if self._size < end:
            self.checkpoint()
        if self._size < end:
            raise Unavailable("log-range", f"the log's checkpoint has {self._size} entries, expected {end} or more")
        return self._size

    def _get(self, path: TilePath) -> bytes:
        with self._lock:
            kept = self._kept.get(path)
        if kept is not None:
            return kept
        raw = self._client.get(f"/{path}", size_bytes_max=_BUNDLE_BYTES_MAX if path.level is None else 32 * path.width)
        if path.width == TILE_WIDTH and path.level is not None:  # immutable
            with self._lock:
                self._kept[path] = raw
                if len(self._kept) > _FULL_TILES_KEPT:
                    self._kept.popitem(last=False)
        return raw
