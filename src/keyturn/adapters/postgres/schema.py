"""Make and check the schema: numbered steps, each run once by the database's owner, and grants for the service's own role.

    log       batch, envelope, note, migration     what keeps the log; nobody alters what was appended
    index     entry, tag, subtree                  derived from the log, and made again from it at any time
    local     nothing yet                          what will be neither truth nor derived (outbox, sessions)

`require_ready` is asked before a process appends: it refuses another version, a server that forgets, and a role that may do
more than the service should.
"""

from __future__ import annotations

import re
from importlib import resources
from typing import TYPE_CHECKING

from keyturn.adapters.postgres.connections import Connections, Database, commit
from keyturn.errors import Refused, Unavailable, Usage

if TYPE_CHECKING:
    from psycopg import sql

__all__ = ["migrate", "require_empty", "require_ready"]

_STEPS = tuple(
    sorted(
        (path for path in resources.files(f"{__package__}.migrations").iterdir() if re.match(r"\d{4}-", path.name)),
        key=lambda path: path.name,
    )
)
VERSION = len(_STEPS)
_LOCK = "SELECT pg_advisory_xact_lock(1803910253, 0)"  # "keym"
_BEGIN_SCHEMA = """
CREATE SCHEMA IF NOT EXISTS log;
CREATE SCHEMA IF NOT EXISTS index;
CREATE SCHEMA IF NOT EXISTS local;
CREATE TABLE IF NOT EXISTS log.migration (number integer PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());
"""


def migrate(owner: Connections, *, service: str) -> int:
    """Run the steps that the database lacks, as its owner, and grant `service` what it needs; return how many were run.

    All of it is one transaction. `Usage` when `service` is no role that a service should have.
    """
    with owner.borrowed() as db:
        db.execute("BEGIN")
        db.execute(_LOCK)
        _require_service(db, service)
        db.execute("SET LOCAL client_min_messages = 'error'")  # what is there already is no news
        db.execute(_BEGIN_SCHEMA)
        done = {number for (number,) in db.execute("SELECT number FROM log.migration").fetchall()}
        if done - set(range(1, VERSION + 1)):
            raise Unavailable(
                "store-newer", "a newer Keyturn made the schema of this database", hint="install that version"
            )
        missing = [number for number in range(1, VERSION + 1) if number not in done]
        for number in missing:
            db.execute(_STEPS[number - 1].read_bytes())
            db.execute("INSERT INTO log.migration (number) VALUES (%s)", (number,))
        db.execute(_grants(db.info.dbname, service))
        commit(db)
    return len(missing)


def require_ready(connections: Connections) -> None:
    """Check version, durability and role, or raise `Unavailable` or `Refused`."""
    ((version,),) = connections.read("SELECT coalesce(max(number), 0) FROM log.migration")
    if version != VERSION:
        raise Unavailable(
            "store-version",
            f"expected version {VERSION} of the database's schema, got {version}",
            hint="keyturn log migrate --owner URL --service ROLE",
        )
    ((fsync, full_pages, standby),) = connections.read(
        "SELECT current_setting('fsync'), current_setting('full_page_writes'), pg_is_in_recovery()"
    )
    if (fsync, full_pages) != ("on", "on"):
        raise Refused(
            "store-forgets",
            f"expected a database with fsync and full_page_writes on, got {fsync} and {full_pages}",
            hint="what it acknowledges would be lost with the power",
        )
    if standby:
        raise Unavailable(
            "store-standby", "the database is a standby: it takes no records", hint="name the primary in keyturn.toml"
        )
    ((may_alter,),) = connections.read("""
        SELECT bool_or(has_table_privilege(name, may)) FROM unnest(array['log.batch', 'log.envelope']) AS name,
          unnest(array['UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER']) AS may""")
    if may_alter:
        raise Refused(
            "store-role",
            f"the role `{connections.place.user}` may alter what was appended: the service runs as one that may not",
            hint="keyturn log migrate --owner URL --service ROLE, and name that role in `store`",
        )


def require_empty(connections: Connections) -> None:
    """Check that no log was begun in the database, or raise `Refused`."""
    ((taken,),) = connections.read("SELECT EXISTS (SELECT FROM log.batch) OR EXISTS (SELECT FROM log.note)")
    if taken:
        raise Refused("store-taken", "a log was begun in this database: each lab has its own", hint="createdb")


def _require_service(db: Database, service: str) -> None:
    found = db.execute(
        "SELECT rolsuper OR pg_has_role(oid, current_user, 'MEMBER') FROM pg_roles WHERE rolname = %s", (service,)
    ).fetchone()
    if found is None:
        raise Usage(
            "store-role-unknown", f"the database has no role `{service}`", hint=f"CREATE ROLE {service} LOGIN; in psql"
        )
    if found[0]:
        raise Usage(
            "store-role-owner",
            f"`{service}` is a superuser, or the owner of the log: the service runs as a role that may not alter it",
            hint="CREATE ROLE keyturn_service LOGIN; in psql, as an administrator",
        )


def _grants(database: str, service: str) -> sql.Composed:
    from psycopg import sql  # here, so that `connections` is who says that it is not installed

    text = resources.files(f"{__package__}.migrations").joinpath("grants.sql").read_text(encoding="ascii")
    code = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
    return sql.SQL(code).format(database=sql.Identifier(database), service=sql.Identifier(service))
