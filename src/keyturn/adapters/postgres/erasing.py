"""Erase envelopes from a log in PostgreSQL: `ports.LogEraser`, by the owner of the database, as the service alters nothing.

The rows go in one transaction, and a vacuum then frees their space. Leaves, tree and index stay. What this cannot reach: free
space of pages that were not written again (`VACUUM FULL log.envelope` makes the table anew), the write-ahead log and its
archive, and backups; docs/guide/personal-data.md names them.
"""

from __future__ import annotations

from collections.abc import Collection

from keyturn.adapters.postgres.connections import Connections, commit
from keyturn.formats.digest import Sha256

__all__ = ["EraserInPostgres"]

_ERASE = "DELETE FROM log.envelope WHERE sha256 = ANY(%s::bytea[])"


class EraserInPostgres:
    """Erases through `owner`: connections of whoever owns the schema."""

    def __init__(self, owner: Connections) -> None:
        self._owner = owner

    def erase(self, envelopes: Collection[Sha256]) -> int:
        with self._owner.borrowed() as db:
            db.execute("BEGIN")
            # The trigger keeps the owner from doing by mistake what is meant here; nobody else writes until this ends.
            db.execute("ALTER TABLE log.envelope DISABLE TRIGGER append_only")
            count = db.execute(_ERASE, ([bytes.fromhex(digest) for digest in envelopes],)).rowcount
            db.execute("ALTER TABLE log.envelope ENABLE TRIGGER append_only")
            commit(db)
            db.execute("SET statement_timeout = 0")
            db.execute("VACUUM log.envelope")
            db.execute("RESET statement_timeout")
        return count
