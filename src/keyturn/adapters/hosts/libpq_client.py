"""Run psql, pg_dump or whatever else speaks libpq with the session key of one grant, as libpq's environment variables say it.

libpq wants paths of the key and the certificate, the key a regular file that its user alone can read. Both are in this process's
memory (`adapters.keys.memory_file`): nothing of them is on a disk, and nothing is left when it ends, however it does.

A certificate is good for a minute, so it is renewed while the program runs: psql's `\\c` and the workers of `pg_dump -j` come in
later. Whatever else the caller's environment says of servers, services and passwords is taken out: this is one server and role.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from keyturn.adapters.hosts.foreground import run_in_foreground
from keyturn.adapters.keys.memory_file import MemoryFile
from keyturn.errors import KeyturnError, Unavailable

__all__ = ["RENEWED_EVERY_S", "DatabasePlace", "run_client"]

RENEWED_EVERY_S = 25.0
_ELSEWHERE = frozenset(
    {"PGHOSTADDR", "PGSERVICE", "PGSERVICEFILE", "PGPASSWORD", "PGPASSFILE", "PGREQUIREAUTH", "PGSSLCRL"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabasePlace:
    """A database, and as whom one comes in; `authority` is the file by which the server's certificate is verified, if not libpq's
    own."""

    address: str
    port: int
    database: str
    role: str
    authority: str | None


def run_client(
    words: tuple[str, ...],
    place: DatabasePlace,
    *,
    key: str,
    certificate: bytes,
    renew: Callable[[], bytes],
    every_s: float = RENEWED_EVERY_S,
) -> int:
    """Run `words` where libpq finds `place`, the key at the path `key`, and the certificate; gives its exit status as a shell
    has it. `renew` gives another certificate `every_s`: what it raises leaves the one that is there."""
    with MemoryFile("keyturn-certificate", certificate) as held:
        over = threading.Event()

        def renewing() -> None:
            while not over.wait(every_s):
                # The gate, or its way there, may be gone, or the grant be over: connections that are there go on.
                with suppress(KeyturnError):
                    held.put(renew())

        thread = threading.Thread(target=renewing, daemon=True)
        thread.start()
        try:
            return run_in_foreground(words, env=environment(place, os.environ, key=key, certificate=held.path))
        except (FileNotFoundError, PermissionError) as err:
            raise Unavailable(
                "client-missing",
                f"cannot run `{words[0]}`: {err.strerror}",
                hint="apt install postgresql-client, or --exec PROGRAM",
            ) from err
        finally:
            over.set()
            thread.join()  # INVARIANT: nobody writes to a file that is closed


def environment(place: DatabasePlace, given: Mapping[str, str], *, key: str, certificate: str) -> dict[str, str]:
    """The environment by which libpq connects to `place` and nowhere else."""
    kept = {name: value for name, value in given.items() if name not in _ELSEWHERE}
    own = {
        "PGHOST": place.address,
        "PGPORT": str(place.port),
        "PGDATABASE": place.database,
        "PGUSER": place.role,
        "PGSSLMODE": "verify-full",
        "PGSSLKEY": key,
        "PGSSLCERT": certificate,
        "PGGSSENCMODE": "disable",
        "PGCONNECT_TIMEOUT": given.get("PGCONNECT_TIMEOUT", "20"),
    }
    return kept | own | ({} if place.authority is None else {"PGSSLROOTCERT": place.authority})
