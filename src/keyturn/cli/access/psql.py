"""`keyturn psql`: ask for a database, wait until coworkers agreed, and run psql there, with a key that exists for this alone.

The key and its certificate are in this process's memory; when the program ends, they are gone. Whether one comes in is for the
database's own gate.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keyturn.cli import output
from keyturn.cli.access.wishes import Duration, Permit, Ticket, Urgent, WaitFor, Why, shown_and_confirmed
from keyturn.cli.completion import offer_names
from keyturn.cli.names import a_duration, a_gate, seconds
from keyturn.cli.options import Json, Key, Lab, Yes

__all__ = ["psql"]

NO_CONNECTION = 2
"""psql's own exit status when the connection went bad (psql(1))."""


def psql(
    database: Annotated[
        str,
        typer.Argument(metavar="DATABASE/SCHEMA", help="As `main/app`.", autocompletion=offer_names("resources")),
    ],
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="OPTIONS...", help="For psql, behind `--`, as `-- -c 'SELECT 1'`."),
    ] = None,
    reason: Why = "",
    write: Annotated[bool, typer.Option("--write", help="Ask for `db:write`, not `db:read`.")] = False,
    read_only: Annotated[bool, typer.Option("--read-only", help="Ask for no more than reading.")] = False,
    table: Annotated[list[str] | None, typer.Option(help="Ask for this table alone. Repeat.")] = None,
    statement_timeout: Annotated[
        str | None, typer.Option(help="How long a statement runs at most, as `30s`.", callback=a_duration)
    ] = None,
    connections: Annotated[int | None, typer.Option(min=1, max=100, help="How many at the same time.")] = None,
    program: Annotated[
        str, typer.Option("--exec", help="What to run instead: `pg_dump`, or `bash` for several, each by libpq.")
    ] = "psql",
    duration: Duration = None,
    permit: Permit = None,
    gate: Annotated[
        str | None,
        typer.Option(
            help="The database's gate. Default: DATABASE.", callback=a_gate, autocompletion=offer_names("gates")
        ),
    ] = None,
    ticket: Ticket = "",
    urgent: Urgent = False,
    wait: WaitFor = "1h",
    address: Annotated[
        str | None,
        typer.Option(help="Where the server is, if not where its gate says; its certificate must say so too."),
    ] = None,
    ca: Annotated[
        Path | None, typer.Option(help="Who certifies the server, as PEM. Default: as PGSSLROOTCERT and libpq have it.")
    ] = None,
    lab: Lab = None,
    key: Key = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Come in to a database by a grant: ask, wait for approvals, and run psql. Exits as that does."""
    from keyturn.errors import Usage

    named, _, schema = database.removeprefix("db/").partition("/")
    if not named or not schema or database.startswith("keyturn://"):
        raise Usage(
            "psql-database", f"expected a database and a schema, got `{database[:80]}`", hint="keyturn psql main/app"
        )
    if not reason:
        raise Usage(
            "psql-reason",
            "expected --reason: your coworkers decide by it",
            hint=f"keyturn psql {named}/{schema} --reason WHY",
        )
    from keyturn.wiring.access.psql import run_by_grant
    from keyturn.wiring.access.session_grant import SessionWish
    from keyturn.wiring.typed import database_terms

    wish = SessionWish(
        resource=f"db/{named}/{schema}",
        gate=gate or named,
        action="db:write" if write else "db:read",
        reason=reason,
        ticket=ticket,
        duration_s=None if duration is None else seconds(duration),
        permit=permit,
        urgent=urgent,
        database=database_terms(
            read_only=read_only,
            tables=table,
            statement_s=None if statement_timeout is None else seconds(statement_timeout),
            connections=connections,
        ),
    )

    status, request = run_by_grant(
        lab,
        wish,
        (program, *(words or ())),
        address=address,
        authority=ca,
        key=key,
        agree=shown_and_confirmed(yes=yes, json=json),
        tell=lambda said: output.warn(said, json=json),
        within_s=seconds(wait),
    )
    if status == NO_CONNECTION and program == "psql":
        output.warn(
            f"psql ended with 2: it could not connect, or its connection ended. Whether the grant stands: "
            f"`keyturn grant explain {request[:12]}`",
            json=json,
        )
    raise typer.Exit(status)
