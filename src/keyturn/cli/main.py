"""The table of commands, and the one place where an error becomes an exit status.

Bare verbs stand for what people do daily; everything else is `keyturn NOUN VERB`. A command's module is imported when
the command runs (or its help is shown). Exit status: 0 done, 1 verified and refused, 2 usage, 3 could not find out.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Annotated, NoReturn

import typer
from typer.core import TyperGroup

import keyturn
from keyturn.cli.options import Invocation
from keyturn.cli.output import show_error
from keyturn.errors import KeyturnError

__all__ = ["COMMANDS", "app", "main"]

COMMANDS: dict[str, str] = {
    "init": "keyturn.cli.init:init",
    "up": "keyturn.cli.up:up",
    "request": "keyturn.cli.grant:request",
    "approve": "keyturn.cli.grant:approve",
    "deny": "keyturn.cli.grant:deny",
    "run": "keyturn.cli.run:run",
    "release": "keyturn.cli.release:release",
    "verify": "keyturn.cli.verify:verify",
    "trust": "keyturn.cli.trust:app",
    "policy": "keyturn.cli.policy:app",
    "grant": "keyturn.cli.grant:app",
    "gate": "keyturn.cli.gate:app",
    "log": "keyturn.cli.log:app",
    "witness": "keyturn.cli.witness:app",
    "builder": "keyturn.cli.builder:app",
    "lineage": "keyturn.cli.lineage:app",
    "pack": "keyturn.cli.pack:app",
}
"""Name -> `module:name` of a function (a bare verb) or of a `typer.Typer` (a noun with verbs)."""


class _Commands(TyperGroup):
    """Finds a command by importing its module only when it is asked for."""

    def list_commands(self, ctx: typer.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: typer.Context, cmd_name: str):  # type: ignore[no-untyped-def]  # its type is private to typer
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, _, name = place.partition(":")
        found = getattr(import_module(module), name)
        if not isinstance(found, typer.Typer):
            verb, found = found, typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
            found.command(cmd_name)(verb)
        command = typer.main.get_command(found)
        command.name = cmd_name
        return command


app = typer.Typer(
    name="keyturn",
    cls=_Commands,
    help="Two-party control and chain of custody for AI labs.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"keyturn {keyturn.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Two-party control and chain of custody for AI labs."""


def main() -> NoReturn:
    """Run the command line, and exit with its status."""
    invocation = Invocation()
    try:
        app(obj=invocation, prog_name="keyturn")
    except KeyturnError as err:
        show_error(err, json=invocation.json)
        sys.exit(err.exit_status)
    except BrokenPipeError:
        sys.exit(3)
    except Exception as err:  # the last border: a defect must not read as "refused" (1) or "usage" (2)
        defect = KeyturnError(
            "internal-error",
            f"this is a defect in Keyturn: {type(err).__name__}: {err}",
            hint="report it, with the command and this text; set KEYTURN_TRACEBACK=1 to see where it happened",
        )
        show_error(defect, json=invocation.json)
        _show_traceback_if_asked()
        sys.exit(3)
    sys.exit(0)


def _show_traceback_if_asked() -> None:
    import os
    import traceback

    if os.environ.get("KEYTURN_TRACEBACK"):
        traceback.print_exc()
