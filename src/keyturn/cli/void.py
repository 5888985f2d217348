"""`keyturn trust void`: say, as a lab, that log entries which nobody can read say nothing.

Mounted under `trust` by its module. It writes the draft; a threshold of people signs it (`cli/ceremony.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from keyturn.cli import output
from keyturn.cli.options import Json, Lab

if TYPE_CHECKING:
    from rich.console import Console

    from keyturn.app.verify_log import Fault

__all__ = ["void"]


def void(
    entries: Annotated[
        list[str] | None, typer.Argument(help="Log entries, as `17` or `17-40`. Without any they are only listed.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every entry that is listed.")] = False,
    lab: Lab = None,
    json: Json = False,
) -> None:
    """List the log entries that nobody can read and that close something, and declare them void in the draft.

    Whoever had the log for a moment leaves such entries behind. Look for the missing envelopes in backups first: what is
    void takes nothing away any more, and if it was a real denial, suspension or failed test, nor does that.
    """
    from keyturn.adapters.clock import SystemClock
    from keyturn.app.void_hidden import closing, void_hidden
    from keyturn.wiring.log import log_reader, trust_behind
    from keyturn.wiring.places import find_lab
    from keyturn.wiring.trust import trust_store
    from keyturn.wiring.typed import log_entries

    named = log_entries("ENTRIES", entries or ())
    place = find_lab(lab)
    store = trust_store(place.directory)
    with log_reader(place) as reader, output.progress("reading the log", 0) as progress:
        trust = trust_behind(place, reader).newest
        found = closing(reader, trust=trust, clock=SystemClock(), progress=progress)
    chosen = found if all_ else tuple(one for one in found if any(one.index in few for few in named))
    if all_ or named:
        void_hidden(chosen, named=() if all_ else named, store=store)
    output.emit(
        {"entries": found, "void": [one.index for one in chosen]},
        json=json,
        human=lambda screen: _shown(screen, found, chosen),
    )


def _shown(screen: Console, found: tuple[Fault, ...], chosen: tuple[Fault, ...]) -> None:
    if not found:
        screen.print("every entry that matters can be read, or is void")
        return
    cells = [
        (str(one.index), one.id, one.what, " ".join(one.about), "in the draft" if one in chosen else "")
        for one in found
    ]
    output.rows(screen, ("entry", "id", "what", "about", "void"), cells)
    if chosen:
        screen.print("next: keyturn trust propose, show, sign, publish")
    else:
        screen.print(
            "next: look for the envelopes in backups; if nobody has them: keyturn trust void ENTRIES, or --all"
        )
