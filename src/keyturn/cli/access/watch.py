"""`keyturn grant watch`: be the second person who sees a session live, without whom nothing of it goes through."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from keyturn.cli import output
from keyturn.cli.access import asked
from keyturn.cli.names import Request
from keyturn.cli.options import Json, Key, Lab, Yes

__all__ = ["watch"]


def watch(
    which: Request,
    address: Annotated[str | None, typer.Option(help="Where the bastion is, if not at its name.")] = None,
    port: Annotated[int | None, typer.Option("--port", "-p", min=1, max=65535, help="Its SSH port.")] = None,
    ssh_option: Annotated[
        list[str] | None, typer.Option("-o", help="An option for ssh, as it takes it. Repeat.")
    ] = None,
    lab: Lab = None,
    key: Key = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Watch what goes through a bastion under a request: Ctrl-C leaves, and it stands still; Ctrl-\\ ends it at once."""
    from keyturn.adapters.hosts import watch_client
    from keyturn.adapters.hosts.ssh_client import Where
    from keyturn.adapters.safe_screen import RESTORE
    from keyturn.app.access.authorize import Pending
    from keyturn.wiring.access.watch import watching

    def agree(pending: Pending) -> None:
        asked.show_whole(pending, json=json)
        output.confirm("Watch this?", yes=yes)

    def screen(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    with watching(lab, which, key=key, agree=agree) as (bastion, options):
        output.warn("watching; Ctrl-C leaves, and it stands still; Ctrl-\\ ends it at once", json=json)
        where = Where(bastion, address or bastion, port, tuple(ssh_option or ()))
        status = watch_client.watch(where, options, screen=screen, say=lambda said: screen(f"\r\nkeyturn: {said}\r\n"))
        if sys.stdout.isatty():
            screen(RESTORE)
    output.warn(f"over; to have it ended for good: keyturn grant revoke {which}", json=json)
    raise typer.Exit(status)
