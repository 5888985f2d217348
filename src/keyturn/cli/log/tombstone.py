"""`keyturn tombstone`: have the text of a record erased, as two people; `keyturn log erase` carries it out where the log lies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from keyturn.cli import output
from keyturn.cli.access import asked
from keyturn.cli.names import Erasable, a_case
from keyturn.cli.options import Json, Key, Lab, Yes
from keyturn.formats.tombstone import Ground  # Typer reads the choices

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from keyturn.app.oversight.erase_records import Asked
    from keyturn.formats.records import Record

__all__ = ["app", "asked_rows"]

app = typer.Typer(
    help="Erase personal data: the text of a record goes, its place in the log stays.", no_args_is_help=True
)


@app.command()
def sign(
    record: Erasable,
    ground: Annotated[Ground, typer.Option(help="Why, in the words of Article 17(1) GDPR.")],
    case: Annotated[
        str | None,
        typer.Option(help="Number of the case file that says more. Nobody's name: this stays.", callback=a_case),
    ] = None,
    lab: Lab = None,
    key: Key = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Sign that the text of a record shall be erased, after all that it says was shown. It takes another human as well.

    Requests and approvals can go once they are over; what takes access away can go at any time, and stays in force.
    """
    from keyturn.app.oversight.erase_records import sign_tombstone
    from keyturn.wiring.access.grants import desk, wait_until_in_force
    from keyturn.wiring.log.tombstones import erasable

    with desk(lab, approving=True, key=key) as here:
        seen = here.seen
        found = erasable(seen, record)
        rows = (("record", found.id), ("entry", str(found.index)), *_fields(found.record))
        output.warn(asked.table((*rows, ("your ground", ground), ("your case", case or "-"))), json=json)
        output.confirm("Sign that this text shall be erased?", yes=yes)
        logged = sign_tombstone(found, here.hand, seen.trust, seen.view, ground=ground, case=case)
        witnessed = wait_until_in_force(seen, logged)
    output.emit(
        asked.logged_as(logged, in_force=witnessed.cosigned_at),
        json=json,
        human=lambda screen: screen.print(
            f"{logged.id}: {found.id} shall be erased\nnext: {seen.trust.limits.tombstone_signers} humans sign this; "
            "then, where the log lies: keyturn log erase"
        ),
    )


@app.command("list")
def list_(lab: Lab = None, json: Json = False) -> None:
    """List what tombstones ask for, and what became of it. Reads the whole log."""
    from keyturn.wiring.access.grants import viewed
    from keyturn.wiring.log.tombstones import all_asked

    with viewed(lab) as seen, output.progress("reading the log", 0, json=json) as progress:
        found = all_asked(seen, progress=progress)
    output.emit(found, json=json, human=lambda screen: asked_rows(screen, found))


def asked_rows(screen: Console, found: Sequence[Asked]) -> None:
    """Show what tombstones ask for, one in a row."""
    if not found:
        screen.print("no tombstone asks for anything")
        return
    cells = [
        (
            str(one.index),
            one.id,
            one.state,
            ", ".join(one.signers),
            "" if one.tombstone is None else str(one.tombstone),
            one.why,
        )
        for one in found
    ]
    output.rows(screen, ("entry", "record", "", "signed by", "tombstone", "why not"), cells)


def _fields(record: Record) -> tuple[tuple[str, str], ...]:
    import msgspec

    fields = msgspec.to_builtins(record.statement.predicate)
    return tuple((name.replace("_", " "), str(value)) for name, value in fields.items())
