"""Options that every command has, each said once.

A command takes them as `lab: Lab = None, json: Json = False`. `--json` is also remembered for `main`, so that an error is
JSON too.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Annotated

import typer

__all__ = [
    "Fast",
    "Invocation",
    "Json",
    "Key",
    "Lab",
    "LogJson",
    "OtherTrustKey",
    "Port",
    "Reason",
    "Root",
    "Yes",
    "said_to_people",
]


@dataclass(slots=True)
class Invocation:
    """What `main` must know of a command when it failed. The one mutable value of the command line."""

    json: bool = False
    log_json: bool = False
    """The command serves, and what it says is a log of JSON lines."""


def _remember_json(ctx: typer.Context, value: bool) -> bool:
    invocation = ctx.find_root().obj
    if value and isinstance(invocation, Invocation):
        invocation.json = True
    return value


Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.", callback=_remember_json)]


def said_to_people(param: typer.CallbackParam, value: str) -> str:
    """Refuse what no coworker could read safely (terminal escapes, hidden characters) where it is typed, by its option."""
    from keyturn.errors import Usage
    from keyturn.wiring.typed import free_text

    if not value.strip() and (value or param.required):
        raise Usage("text-empty", f"`{param.opts[0]}`: expected some words, got none")
    return free_text(f"`{param.opts[0]}`", value)


Reason = Annotated[str, typer.Option("--reason", help="Why. Coworkers and auditors read it.", callback=said_to_people)]

Lab = Annotated[
    str | None,
    typer.Option(
        "--lab",
        help="The lab's directory or the URL of its service. Default: yours, else the nearest keyturn.toml.",
        envvar="KEYTURN_LAB",
        show_default=False,
    ),
]

Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        help="Which of your keys signs: its kind, or how its id begins. Default: as your config.toml lists them.",
        envvar="KEYTURN_KEY",
        show_default=False,
    ),
]

OtherTrustKey = Annotated[
    str | None,
    typer.Option(
        "--trust-key",
        help="Where another trust key than your home's is, an offline or outgoing one: a PEM file, or a `pkcs11:` URI.",
        show_default=False,
    ),
]

Fast = Annotated[
    bool,
    typer.Option(
        "--fast", help="Compare BLAKE3s, which rest on the release gate's word alone, in less than half the time."
    ),
]
"""For whatever compares files with a pack: never by default (`app.custody.verify_model`)."""

Yes = Annotated[bool, typer.Option("--yes", help="Sign what is shown without asking.")]
"""For whatever signs: it is shown whole either way, and without a terminal it is never assumed."""


def _remember_log_json(ctx: typer.Context, value: bool) -> bool:
    invocation = ctx.find_root().obj
    if isinstance(invocation, Invocation):
        invocation.log_json = value or not sys.stderr.isatty()
    return value


LogJson = Annotated[
    bool,
    typer.Option(
        "--log-json",
        callback=_remember_log_json,
        help="Write the process's own log as JSON lines; by itself when standard error is no terminal.",
    ),
]
"""For whatever serves; see `adapters.process_log`."""

Port = Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one.")]
"""For whatever serves."""

Root = Annotated[
    str | None, typer.Option("--root-sha256", help="SHA-256 of the lab's first root. Default: the one you pinned.")
]
"""For whatever sets a process up: the root that it will verify from."""
