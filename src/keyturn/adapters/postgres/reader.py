"""Read a log in PostgreSQL: `ports.LogReader`, and C2SP tiles made from leaves and subtrees as they are asked for.

What was committed is read at once, since leaves, subtrees and index are one transaction's. Nothing read here is verified.
"""

from __future__ import annotations

from collections.abc import Sequence

from keyturn.adapters.log_on_disk.checkpoint_files import body_of
from keyturn.adapters.postgres.connections import Connections
from keyturn.errors import Malformed, Unavailable
from keyturn.formats.digest import Sha256, sha256
from keyturn.formats.tile import TILE_WIDTH, TilePath, parse_bundle, render_bundle, render_tile
from keyturn.tlog import merkle
from keyturn.tlog.tiles import hash_reader

__all__ = ["LogInPostgresReader"]

_NOTE = "SELECT note FROM log.note WHERE which = 'checkpoint'"
_SIZE = "SELECT first + count FROM log.batch ORDER BY first DESC LIMIT 1"
_LEAVES = """SELECT first, count, leaves FROM log.batch WHERE first < %s
  AND first >= coalesce((SELECT max(first) FROM log.batch WHERE first <= %s), 0) ORDER BY first"""
_ENVELOPE = "SELECT content FROM log.envelope WHERE sha256 = %s"
_SUBTREES = "SELECT hash FROM index.subtree WHERE level = %s AND idx >= %s AND idx < %s ORDER BY idx"


class LogInPostgresReader:
    """Reads whatever is durable. Safe for threads; the connections stay open: they are the caller's."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def checkpoint(self) -> bytes:
        found = self._connections.read(_NOTE)
        if not found:
            raise Unavailable(
                "log-no-checkpoint", "the log has no checkpoint that its witnesses cosigned", hint="keyturn up"
            )
        raw: bytes = found[0][0]
        body_of("checkpoint", raw)
        return raw

    def leaves(self, start: int, end: int) -> list[bytes]:
        if not 0 <= start <= end:
            raise Unavailable("log-range", f"no leaves {start} to {end}")
        found: list[bytes] = []
        if start == end:
            return found
        for first, count, packed in self._connections.read(_LEAVES, (end, start)):
            try:
                leaves = parse_bundle(packed, width=count)
            except Malformed as err:
                raise Unavailable(
                    "log-batch-damaged",
                    f"the batch at entry {first} is damaged: {err.message}",
                    hint="keyturn log verify",
                ) from err
            found += leaves[max(0, start - first) : end - first]
        if len(found) != end - start:
            raise Unavailable("log-range", f"expected leaves {start} to {end}, the log has {self._size()}")
        return found

    def hashes(self, level: int, start: int, end: int) -> Sequence[bytes]:
        if not 0 <= level < 64:
            raise Unavailable("log-range", f"no subtrees at level {level}")
        size = self._size()
        try:
            return hash_reader(size, self._hash_tile)(level, start, end)
        except Malformed as err:
            raise Unavailable("log-range", f"the log of {size} leaves cannot give these hashes: {err.message}") from err

    def envelope(self, digest: Sha256) -> bytes:
        found = self._connections.read(_ENVELOPE, (bytes.fromhex(digest),))
        if not found:
            raise Unavailable("envelope-unknown", f"the log has no envelope `{digest[:16]}`")
        raw: bytes = found[0][0]
        if sha256(raw) != digest:
            raise Unavailable("envelope-damaged", f"the envelope `{digest[:16]}` is damaged", hint="keyturn log verify")
        return raw

    def tile(self, path: TilePath) -> bytes:
        """A tile or entry bundle as it is served, or `Unavailable`."""
        if path.level is None:
            first = path.index * TILE_WIDTH
            return render_bundle(self.leaves(first, first + path.width))
        return self._hash_tile(path.level, path.index, path.width)

    def _hash_tile(self, level: int, index: int, width: int) -> bytes:
        first = index * TILE_WIDTH
        if level == 0:
            return render_tile(merkle.leaf_hashes(self.leaves(first, first + width)))
        found = self._connections.read(_SUBTREES, (level, first, first + width)) if level < 8 else []
        if len(found) != width:
            raise Unavailable("log-tile", f"`{TilePath(level, index, width)}` is not there", hint="keyturn log reindex")
        return render_tile([node for (node,) in found])

    def _size(self) -> int:
        found = self._connections.read(_SIZE)
        return found[0][0] if found else 0
