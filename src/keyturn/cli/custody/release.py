"""`keyturn release`: ask for a release (`keyturn release MODEL`), and everything that comes after it.

A first word that is none of the verbs is a model: `keyturn release MODEL` is `keyturn release ask MODEL`. A model in a directory
that is called like a verb is `./check`.
"""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from keyturn.cli.custody.deployed import deployed, ended, where, withdraw
from keyturn.cli.custody.release_ask import ask
from keyturn.cli.custody.release_check import carry, check
from keyturn.cli.custody.release_papers import papers

__all__ = ["app"]


class _ModelFirst(TyperGroup):
    """A group whose first word may be a model: then people are asked to release it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `ask` before what is no verb."""
        if args and args[0] not in self.commands and args[0] != "--help":
            args = ["ask", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    help="Ask people to release a model: keyturn release MODEL. Then: what runs where, and whether it still may.",
    cls=_ModelFirst,
    no_args_is_help=True,
)
for verb in (ask, check, carry, papers, deployed, ended, where, withdraw):
    app.command()(verb)
