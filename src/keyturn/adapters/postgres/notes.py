"""The log's two notes, `checkpoint` and `signed`, each replaced by compare-and-swap and never by an older one.

Several processes publish one log: of two that swap the same note, the row's lock lets one go first, and the other sees
`Conflict`.
"""

from __future__ import annotations

from typing import Literal

from keyturn.adapters.log_on_disk.checkpoint_files import body_of, check_follows
from keyturn.adapters.postgres.connections import Connections, Database, commit
from keyturn.errors import Conflict, Unavailable
from keyturn.formats.checkpoint import Checkpoint

__all__ = ["Notes", "Which"]

Which = Literal["checkpoint", "signed"]

_READ = "SELECT note FROM log.note WHERE which = %s"
_READ_LOCKED = "SELECT note FROM log.note WHERE which = %s FOR UPDATE"
_INSERT = "INSERT INTO log.note (which, note) VALUES (%s, %s) ON CONFLICT DO NOTHING"
_UPDATE = "UPDATE log.note SET note = %s WHERE which = %s"


class Notes:
    """Read and swap the notes."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def read(self, which: Which) -> bytes | None:
        """The note, or `None` when there has never been one."""
        found = self._connections.read(_READ, (which,))
        return found[0][0] if found else None

    def read_body(self, which: Which) -> Checkpoint | None:
        """What the note says; no signature is checked."""
        raw = self.read(which)
        return None if raw is None else body_of(which, raw)

    def swap(self, which: Which, old: bytes | None, new: bytes) -> None:
        """Replace `old` by `new` durably, or raise `Conflict` and change nothing.

        Raises `Tampered` when `new` is smaller than `old`, or another tree of the same size, or another log's. When the
        connection is lost while it commits, nobody knows which note is there, so it is swapped again unless it was.
        """
        try:
            self._swap(which, old, new, done_if_new=False)
        except Unavailable as err:
            if err.code != "store-unreachable":
                raise
            self._swap(which, old, new, done_if_new=True)

    def _swap(self, which: Which, old: bytes | None, new: bytes, *, done_if_new: bool) -> None:
        with self._connections.borrowed() as db:
            db.execute("BEGIN")
            current = _locked(db, which)
            if current != old and not (done_if_new and current == new):
                raise _changed(which)
            check_follows(current, new)
            if current is None and db.execute(_INSERT, (which, new)).rowcount != 1:
                raise _changed(which)
            if current is not None:
                db.execute(_UPDATE, (new, which))  # also when it is there already: what this commit syncs holds it
            commit(db)


def _locked(db: Database, which: Which) -> bytes | None:
    found = db.execute(_READ_LOCKED, (which,), binary=True).fetchone()
    return None if found is None else found[0]


def _changed(which: Which) -> Conflict:
    return Conflict("checkpoint-changed", f"the log's `{which}` was replaced by another process")
