"""Join a lab's log in PostgreSQL to this machine: which database keyturn.toml names, and what is opened in it.

The database is spoken to only when there is one: the parts that need the extra `server` are imported then.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from keyturn.adapters.postgres.place import StorePlace
from keyturn.errors import Refused, Usage
from keyturn.wiring.lab.lab_file import read_lab_file

if TYPE_CHECKING:
    from keyturn.adapters.postgres.connections import Connections
    from keyturn.adapters.postgres.erasing import EraserInPostgres
    from keyturn.adapters.postgres.index import IndexInPostgres
    from keyturn.adapters.postgres.log import LogInPostgres
    from keyturn.adapters.postgres.reader import LogInPostgresReader

__all__ = [
    "eraser_in",
    "index_in",
    "log_in",
    "migrate_store",
    "new_store",
    "reader_of",
    "reindex_store",
    "store_of",
    "typed_store",
    "verify_store",
]


def store_of(directory: Path) -> StorePlace | None:
    """The database that keeps the log of the lab in `directory`, or `None` when it lies on disk."""
    place = directory / "keyturn.toml"
    store = read_lab_file(directory).store
    if store is None:
        return None
    found = StorePlace.parse(store)
    if found.password is not None and place.stat().st_mode & 0o077:
        raise Refused(
            "store-password-exposed",
            f"`{place}` holds the password of the database, and others may read it",
            hint=f"chmod 600 {place}, or put the password into ~/.pgpass",
        )
    return found


def typed_store(url: str) -> StorePlace:
    """Parse a URL from the command line, where no password belongs: everybody on the machine sees it."""
    place = StorePlace.parse(url)
    if place.password is not None:
        raise Usage(
            "store-password-typed",
            "a password on the command line is seen by everybody on this machine",
            hint="put it into ~/.pgpass, or name another file in PGPASSFILE",
        )
    return place


@contextmanager
def log_in(store: StorePlace) -> Iterator[tuple[LogInPostgres, IndexInPostgres]]:
    """Open the log in `store` for writing, and its index; other processes may have it open as well."""
    from keyturn.adapters.postgres.index import IndexInPostgres
    from keyturn.adapters.postgres.log import LogInPostgres

    with _connected(store) as connections, LogInPostgres(connections) as log:
        yield log, IndexInPostgres(connections)


@contextmanager
def reader_of(store: StorePlace) -> Iterator[LogInPostgresReader]:
    """Read the log in `store`."""
    from keyturn.adapters.postgres.reader import LogInPostgresReader

    with _connected(store) as connections:
        yield LogInPostgresReader(connections)


@contextmanager
def index_in(store: StorePlace) -> Iterator[IndexInPostgres]:
    """The index in `store`."""
    from keyturn.adapters.postgres.index import IndexInPostgres

    with _connected(store) as connections:
        yield IndexInPostgres(connections)


@contextmanager
def eraser_in(owner: StorePlace) -> Iterator[EraserInPostgres]:
    """Erase from the log in a database, as its owner."""
    from keyturn.adapters.postgres.erasing import EraserInPostgres

    with _connected(owner) as connections:
        yield EraserInPostgres(connections)


def reindex_store(store: StorePlace) -> int:
    """Make the index in `store` again from the log, and return how many entries there are."""
    from keyturn.adapters.postgres.log import reindex

    with _connected(store) as connections:
        return reindex(connections)


def verify_store(store: StorePlace, *, size_min: int) -> None:
    """Verify every batch in `store`, and that there are at least `size_min` entries."""
    from keyturn.adapters.postgres.log import verify_batches

    with _connected(store) as connections:
        verify_batches(connections, size_min=size_min)


def migrate_store(owner: StorePlace, *, service: str) -> int:
    """Bring the schema of a database up to date, as its owner; return how many steps it lacked."""
    from keyturn.adapters.postgres.schema import migrate

    with _connected(owner) as connections:
        return migrate(connections, service=service)


def new_store(store: StorePlace) -> None:
    """Check that a lab can begin its log in `store`: the schema is there, the role is right, and nobody's log is in it."""
    from keyturn.adapters.postgres.schema import require_empty, require_ready

    with _connected(store) as connections:
        require_ready(connections)
        require_empty(connections)


@contextmanager
def _connected(store: StorePlace) -> Iterator[Connections]:
    from keyturn.adapters.postgres.connections import Connections

    connections = Connections(store)
    try:
        yield connections
    finally:
        connections.close()
