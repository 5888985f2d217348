"""`keyturn doctor`: examine a lab from where you stand, and say what to do about what is found."""

from __future__ import annotations

import typer

from keyturn.cli import output
from keyturn.cli.options import Json, Lab

__all__ = ["doctor"]


def doctor(lab: Lab = None, json: Json = False) -> None:
    """Examine the lab: expiry, witnesses, keys, policy, suspensions, processes, standing access. Exits with 1 for errors."""
    from keyturn.wiring.lab.check_up import examine

    found = examine(lab)
    rows = [(one.level, one.check, one.found, one.hint) for one in found]
    output.emit(found, json=json, human=lambda screen: output.rows(screen, ("", "check", "found", "next"), rows))
    if any(one.level == "error" for one in found):
        raise typer.Exit(1)
