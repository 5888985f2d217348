"""What whoever asks for access may say of it, in whichever command: each option once, and the showing before it is signed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from keyturn.cli import output
from keyturn.cli.access import asked
from keyturn.cli.completion import offer_names
from keyturn.cli.names import a_duration
from keyturn.cli.options import said_to_people

__all__ = ["Duration", "Permit", "Ticket", "Urgent", "WaitFor", "Why", "shown_and_confirmed"]

Why = Annotated[str, typer.Option("--reason", help="Why: your coworkers decide by it.", callback=said_to_people)]
Duration = Annotated[
    str | None, typer.Option(help="As `30m`, `2h`. Default: the permit's longest.", callback=a_duration)
]
Permit = Annotated[str | None, typer.Option(help="The permit to ask by.", autocompletion=offer_names("permits"))]
Ticket = Annotated[str, typer.Option(help="A ticket's number.", callback=said_to_people)]
Urgent = Annotated[bool, typer.Option("--urgent", help="Page whoever can approve; it weighs nothing.")]
WaitFor = Annotated[str, typer.Option(help="How long to wait for approvals.", callback=a_duration)]


def shown_and_confirmed(*, yes: bool, json: bool) -> Callable[[tuple[tuple[str, str], ...]], None]:
    """Give what shows the rows of a request whole on standard error, and asks whether to sign it."""

    def agree(rows: tuple[tuple[str, str], ...]) -> None:
        output.warn(asked.table(rows), json=json)
        output.confirm("Sign this request?", yes=yes)

    return agree
