"""The table of commands, and the one place where an error becomes an exit status.

Bare verbs stand for what people do daily; everything else is `keyturn NOUN VERB`. A command's module is imported when
the command runs (or its help is shown). Exit status: 0 done, 1 verified and refused, 2 usage, 3 could not find out.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterable
from importlib import import_module
from typing import Annotated, NoReturn

import typer

import keyturn
from keyturn.cli.options import Invocation
from keyturn.cli.output import show_error
from keyturn.errors import KeyturnError

__all__ = ["COMMANDS", "build", "main"]

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
    "step": "keyturn.cli.step:app",
    "lineage": "keyturn.cli.lineage:app",
    "pack": "keyturn.cli.pack:app",
}
"""Name -> `module:name` of a function (a bare verb) or of a `typer.Typer` (a noun with verbs)."""


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"keyturn {keyturn.__version__}")
        raise typer.Exit


def build(names: Iterable[str]) -> typer.Typer:
    """Make the command line with the commands `names`, importing their modules alone."""
    app = typer.Typer(
        name="keyturn",
        help="Two-party control and chain of custody for AI labs.",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    app.callback()(_root)
    for name in names:
        module, _, attribute = COMMANDS[name].partition(":")
        command = getattr(import_module(module), attribute)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Two-party control and chain of custody for AI labs."""


def main() -> NoReturn:
    """Run the command line, and exit with its status."""
    invocation = Invocation()
    named = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    # One module is imported for one command; help, completion and misspelt names need all of them.
    names = (named,) if named in COMMANDS and "_KEYTURN_COMPLETE" not in os.environ else tuple(COMMANDS)
    try:
        build(names)(obj=invocation, prog_name="keyturn")
    except KeyturnError as err:
        show_error(err, json=invocation.json)
        sys.exit(err.exit_status)
    except BrokenPipeError:
        sys.exit(3)
    except Exception as err:  # noqa: BLE001  # the last border: a defect must not read as "refused" (1) or "usage" (2)
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
    if os.environ.get("KEYTURN_TRACEBACK"):
        traceback.print_exc()
