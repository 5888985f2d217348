"""A log in memory: `ports.LogKeeper` and `ports.RecordIndex` for short-lived labs, tools and tests. It is real, and it forgets.

It keeps every rule that the log on disk keeps, but durability: "durable" means as long as this object lives.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Literal

from keyturn.adapters.log_entry import leaf_text
from keyturn.adapters.log_on_disk.checkpoint_files import check_follows
from keyturn.errors import Conflict, KeyturnError, Refused, Tampered, Unavailable
from keyturn.formats.digest import Sha256, sha256
from keyturn.formats.leaf import Kind, Leaf
from keyturn.formats.records import leaf_of
from keyturn.ports import IndexedRecord
from keyturn.tlog import merkle
from keyturn.tlog.frontier import Frontier

__all__ = ["LogInMemory"]


class LogInMemory:
    """Everything is kept in lists; safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._leaves: list[tuple[Leaf, bytes]] = []
        self._envelopes: dict[str, bytes] = {}
        self._places: dict[bytes, int] = {}
        """Where each leaf stands first: whoever had the log can write others that only name the same envelope."""
        self._nodes: list[list[bytes]] = [[]]
        self._frontier = Frontier.empty()
        self._notes: dict[str, bytes] = {}
        self._refusal: KeyturnError | None = None

    def append(self, envelope: bytes) -> int:
        return self.append_leaf(envelope, leaf_of(envelope))

    def append_leaf(self, envelope: bytes, leaf: Leaf) -> int:
        """Append an envelope whose `leaf` the caller computed with `leaf_of`."""
        raw = leaf_text(envelope, leaf)
        with self._lock:
            if self._refusal is not None:
                raise self._refusal
            stored = self._envelopes.get(leaf.envelope)
            if stored is None or sha256(stored) != leaf.envelope:
                self._envelopes[leaf.envelope] = envelope
            elif raw in self._places:
                return self._places[raw]
            index = self._places[raw] = len(self._leaves)
            self._leaves.append((leaf, raw))
            self._frontier = self._frontier.extend([raw])
            self._push(merkle.leaf_hash(raw))
            return index

    def checkpoint(self) -> bytes:
        found = self._notes.get("checkpoint")
        if found is None:
            raise Unavailable("log-no-checkpoint", "the log has no checkpoint that its witnesses cosigned")
        return found

    def leaves(self, start: int, end: int) -> Sequence[bytes]:
        with self._lock:
            if not 0 <= start <= end <= len(self._leaves):
                raise Unavailable(
                    "log-range", f"expected leaves of the first {len(self._leaves)}, got {start} to {end}"
                )
            return [raw for _, raw in self._leaves[start:end]]

    def hashes(self, level: int, start: int, end: int) -> Sequence[bytes]:
        with self._lock:
            row = self._nodes[level] if 0 <= level < len(self._nodes) else []
            if not 0 <= start <= end <= len(row):
                raise Unavailable("log-range", f"no complete subtrees {start} to {end} at level {level}")
            return row[start:end]

    def envelope(self, digest: Sha256) -> bytes:
        found = self._envelopes.get(digest)
        if found is None:
            raise Unavailable("envelope-unknown", f"the log has no envelope `{digest[:16]}`")
        if sha256(found) != digest:
            raise Unavailable("envelope-damaged", f"the envelope `{digest[:16]}` is damaged")
        return found

    def erase(self, envelopes: Collection[Sha256]) -> int:
        """`LogEraser.erase`."""
        with self._lock:
            gone = [digest for digest in envelopes if digest in self._envelopes]
            for digest in gone:
                del self._envelopes[digest]
            return len(gone)

    def settle(self) -> Frontier:
        return self._frontier

    def confirm(self, size: int, root: bytes) -> None:
        with self._lock:
            if size > self._frontier.size:
                self._refusal = Refused(
                    "log-behind-witnesses",
                    f"the log has {self._frontier.size} entries, and its witnesses have seen {size}",
                )
            elif merkle.root_at(size, self.hashes) != root:
                self._refusal = Tampered("log-fork", f"the witnesses have seen another tree of {size} entries")
            if self._refusal is not None:
                raise self._refusal

    def note(self, which: Literal["checkpoint", "signed"]) -> bytes | None:
        return self._notes.get(which)

    def swap(self, which: Literal["checkpoint", "signed"], old: bytes | None, new: bytes) -> None:
        with self._lock:
            if self._notes.get(which) != old:
                raise Conflict("checkpoint-changed", f"the log's `{which}` was replaced by somebody else")
            check_follows(old, new)
            self._notes[which] = new

    def by_record(self, prefix: str, kind: Kind | None = None) -> Sequence[IndexedRecord]:
        return self._where(lambda leaf: leaf.record.startswith(prefix) and kind in (None, leaf.kind))

    def about(self, tag: str) -> Sequence[IndexedRecord]:
        return self._where(lambda leaf: tag in leaf.about)

    def of_kinds(self, kinds: Iterable[Kind], *, start: int = 0) -> Sequence[IndexedRecord]:
        wanted = frozenset(kinds)
        return self._where(lambda leaf: leaf.kind in wanted, start=start)

    def _where(self, holds: Callable[[Leaf], bool], *, start: int = 0) -> Sequence[IndexedRecord]:
        with self._lock:
            found = [(i, leaf) for i, (leaf, _) in enumerate(self._leaves) if i >= start and holds(leaf)]
        return tuple(
            IndexedRecord(i, leaf.kind, Sha256(leaf.record), Sha256(leaf.envelope), leaf.until)
            for i, leaf in found[:1000]
        )

    def _push(self, hashed: bytes) -> None:
        level = 0
        self._nodes[0].append(hashed)
        while len(self._nodes[level]) % 2 == 0:
            if level + 1 == len(self._nodes):
                self._nodes.append([])
            self._nodes[level + 1].append(merkle.node_hash(*self._nodes[level][-2:]))
            level += 1
