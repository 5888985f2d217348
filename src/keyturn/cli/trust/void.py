"""`keyturn trust void`: say, as a lab, that log entries which nobody can read say nothing.

Mounted under `trust` by its module. It writes the draft; a threshold of people signs it (`cli/trust/ceremony.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from keyturn.cli import output
from keyturn.cli.options import Json, Lab

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rich.console import Console

    from keyturn.app.log.verify_log import Fault

__all__ = ["entry_rows", "void"]


def void(
    entries: Annotated[
        list[str] | None,
        typer.Argument(metavar="ENTRY...", help="Log entries, as `17` or `17-40`. Without any they are only listed."),
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every entry that is listed.")] = False,
    lab: Lab = None,
    json: Json = False,
) -> None:
    """List the log entries that nobody can read and that close something, and declare them void in the draft.

    Whoever had the log for a moment leaves such entries behind. Look for the missing envelopes in backups first: what is
    void takes nothing away any more, and if it was a real denial, suspension or failed test, nor does that.
    """
    from keyturn.app.trust.void_hidden import void_hidden
    from keyturn.wiring.lab.places import find_lab
    from keyturn.wiring.trust.trust import trust_store
    from keyturn.wiring.trust.void import entries_that_close
    from keyturn.wiring.typed import log_entries

    named = log_entries("ENTRIES", entries or ())
    place = find_lab(lab)
    store = trust_store(place.directory)
    with output.progress("reading the log", 0, json=json) as progress:
        found = entries_that_close(place, progress=progress)
    chosen = tuple(
        one for one in found if (all_ and one.what != "lost") or any(one.index in entries for entries in named)
    )
    if all_ or named:
        void_hidden(chosen, named=() if all_ else named, store=store)
    output.emit(
        {"entries": found, "void": [one.index for one in chosen]},
        json=json,
        human=lambda screen: _shown(screen, found, chosen),
    )


def entry_rows(screen: Console, found: Iterable[Fault], notes: Mapping[int, str]) -> None:
    """Show entries that cannot be read, each with what is noted about it."""
    cells = [(str(one.index), one.id, one.what, " ".join(one.about), notes.get(one.index, "")) for one in found]
    output.rows(screen, ("entry", "id", "what", "about", "void"), cells)


def _shown(screen: Console, found: tuple[Fault, ...], chosen: tuple[Fault, ...]) -> None:
    if not found:
        screen.print("every entry that matters can be read, or is void")
        return
    entry_rows(screen, found, {one.index: "in the draft" for one in chosen})
    if chosen:
        screen.print("next: keyturn trust propose, show, sign, publish")
    else:
        screen.print(
            "next: look for the envelopes in backups; if nobody has them: keyturn trust void ENTRIES, or --all"
        )
