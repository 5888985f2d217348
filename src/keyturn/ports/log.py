"""The log: read it, append to it, erase from it, keep it, and look records up in it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from keyturn.formats.digest import Sha256
from keyturn.formats.leaf import Kind, Leaf
from keyturn.tlog.frontier import Frontier

__all__ = [
    "Confirming",
    "IndexedRecord",
    "LogAppender",
    "LogEraser",
    "LogKeeper",
    "LogNotes",
    "LogReader",
    "LogWriter",
    "RecordIndex",
    "RecordOutbox",
]


class LogReader(Protocol):
    """Read a log, from disk, from memory or over HTTP. Nothing it returns is believed: callers verify it."""

    def checkpoint(self) -> bytes:
        """The newest signed checkpoint with the cosignatures it has by now (a signed note)."""

    def leaves(self, start: int, end: int) -> Sequence[bytes]:
        """Leaves `start <= i < end`, all of them, or raise `Unavailable`."""

    def hashes(self, level: int, start: int, end: int) -> Sequence[bytes]:
        """Tree hashes at `level` (0 is leaf hashes), of complete subtrees only, or raise `Unavailable`."""

    def envelope(self, digest: Sha256) -> bytes:
        """The envelope with that SHA-256 (checked by the adapter), or raise `Unavailable`."""


class LogWriter(Protocol):
    """Append to the log."""

    def append(self, envelope: bytes) -> int:
        """Make one record durable and return its index; the same record again returns the index it has.

        Returns after the batch with the record is on disk: acknowledged is durable. In force is another thing:
        see `app.records.await_witnessed`.
        """


class LogAppender(LogWriter, Protocol):
    """Append to the log at hand, by whoever has computed the leaf already."""

    def append_leaf(self, envelope: bytes, leaf: Leaf) -> int:
        """`append`, of an envelope whose leaf is `leaf` (`formats.records.leaf_of`)."""


class RecordOutbox(Protocol):
    """Log several records that say something only together: the provenance of a step, and what the step measured."""

    def send(self, records: Sequence[bytes]) -> None:
        """Keep `records` durably, then append them in order.

        Once this raised nothing, all are in the log. When the process dies in the middle, or the log does not answer, those that
        are left follow when the outbox is opened again; `Unavailable` says so.
        """

    def waits(self) -> bool:
        """Whether records of an earlier `send` are not in the log yet."""


class LogEraser(Protocol):
    """Erase text from the log at hand, by whoever keeps it."""

    def erase(self, envelopes: Collection[Sha256]) -> int:
        """Put nothing in the place of each of these envelopes, durably, and give how many there were.

        Leaves, tree and indexes stay as they are. After a crash in the middle some are erased and the log is whole; the same
        again does the rest.
        """


class Confirming(Protocol):
    """Whoever has the log, and compares it with what its witnesses know."""

    def confirm(self, size: int, root: bytes) -> None:
        """Compare with the newest tree that a quorum of witnesses knows (root of `size` leaves).

        Until this succeeds a log that was ever published takes no appends. `Refused` when the log is behind, `Tampered`
        when it is another tree; then it never takes an append again in this process.
        """


class LogKeeper(LogReader, LogAppender, Confirming, Protocol):
    """Keep the log of this lab: for whoever publishes its checkpoints."""

    def settle(self) -> Frontier:
        """Derive tiles and index up to what is durable now, and give the tree there: what may be signed next."""

    def note(self, which: Literal["checkpoint", "signed"]) -> bytes | None:
        """The checkpoint that readers get, or the newest that the log signed; `None` before the first."""

    def swap(self, which: Literal["checkpoint", "signed"], old: bytes | None, new: bytes) -> None:
        """Replace the note `old` by `new` durably, or raise `Conflict` and change nothing; `Tampered` to go back or fork."""


class LogNotes(Confirming, Protocol):
    """A log whose notes may be lost or damaged, held still: nobody appends to it or publishes it meanwhile."""

    @property
    def size(self) -> int:
        """How many entries it holds."""

    def sound(self, which: Literal["checkpoint", "signed"]) -> bytes | None:
        """The note; `None` when there is none, or something else in its place."""

    def replace(self, which: Literal["checkpoint", "signed"], new: bytes | None) -> str | None:
        """Put what lies there aside, and `new` in its place, durably; gives where it was put, `None` when there was nothing."""


@dataclass(frozen=True, slots=True)
class IndexedRecord:
    """Where a record is in the log. From the index, which is not evidence: verify what you act on."""

    index: int
    kind: Kind
    record: Sha256
    envelope: Sha256
    until: int | None


class RecordIndex(Protocol):
    """Look records up. Derived from the log, and rebuilt from it at any time; at most 1000 records per answer."""

    def by_record(self, prefix: str, kind: Kind | None = None) -> Sequence[IndexedRecord]:
        """Records whose digest begins with `prefix` (hex), of one kind or any, in log order."""

    def about(self, tag: str) -> Sequence[IndexedRecord]:
        """Records whose leaf carries `tag` (as `request:<digest>`, `sha256:<hex>`, `member:ada`), in log order."""

    def of_kinds(self, kinds: Iterable[Kind], *, start: int = 0) -> Sequence[IndexedRecord]:
        """Records of `kinds` from log index `start` on, in log order."""
