"""Words that name something in a lab: a record by its id, a resource, a duration. Their form is refused where they are typed.

So a slip of the hand is status 2 whether or not the lab runs. Whether there is such a thing the lab itself says, later and from
the verified log: that there is none is status 1.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from keyturn.cli.completion import offer_names, offer_records

__all__ = [
    "BreakGlassUse",
    "Entry",
    "EntryOrNone",
    "Erasable",
    "Offered",
    "Request",
    "Requests",
    "Resource",
    "StepOrder",
    "Suspension",
    "a_case",
    "a_duration",
    "a_record",
    "a_resource",
    "an_entry",
    "seconds",
    "there",
    "this_is_there",
]


def a_record(*kinds: str) -> Callable[[Any], Any]:
    """Accept the id of a record of these kinds (of any when none is said), or a prefix of it with 8 digits or more."""

    def check(value: Any) -> Any:
        from keyturn.app.records.find_record import record_prefix
        from keyturn.formats.leaf import KINDS

        for text in (value,) if isinstance(value, str) else value or ():
            record_prefix(text, kinds or KINDS)
        return value

    return check


def an_entry(value: str | None) -> str | None:
    """Accept the index of an entry, or the id of its record; or none."""
    if value is not None and not (value.isdecimal() and value.isascii() and len(value) <= 16):
        a_record()(value)
    return value


def a_resource(param: typer.CallbackParam, value: str | None) -> str | None:
    """Accept a whole URI, or the part of it after the lab, as `model/aurora`; whose lab it is, is asked later."""
    from keyturn.wiring.typed import uri

    if value is not None:
        uri(_said_as(param), value, lab="lab.example")
    return value


def a_gate(param: typer.CallbackParam, value: str | None) -> str | None:
    """Accept a gate's name, or its whole URI."""
    a_resource(param, value if value is None or "/" in value else f"gate/{value}")
    return value


def a_case(value: str | None) -> str | None:
    """Accept the number of a case file: letters, digits and `._-`, so that no name or sentence gets there by mistake."""
    from keyturn.errors import Usage

    if value is not None and re.match(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z", value, re.ASCII) is None:
        raise Usage(
            "case-invalid",
            f"expected the number of a case file as `2026-017`, got `{value[:40]}`",
            hint="up to 64 letters, digits, `.`, `_` and `-`; what it is about stays in the case file",
        )
    return value


def a_duration(value: str | None) -> str | None:
    """Accept what `seconds` reads."""
    if value is not None:
        seconds(value)
    return value


def this_is_there(value: Path | None) -> Path | None:
    """Accept a path that is there, or none."""
    there(None if value is None else [value])
    return value


def there(value: list[Path] | None) -> list[Path] | None:
    """Accept paths that are there: one that is misspelt would leave another open, or unprotected."""
    from keyturn.errors import Usage

    for path in value or ():
        if not path.exists():
            raise Usage(
                "file-missing",
                f"expected a file or directory at `{path}`: there is none",
                hint=f"type the path of one that is there, or mkdir -p {shlex.quote(str(path))}",
            )
    return value


def seconds(text: str) -> int:
    """Read `90s`, `30m`, `2h` or `1d`, or raise `Usage`."""
    from keyturn.errors import Usage

    found = re.match(r"([1-9][0-9]{0,6})([smhd])\Z", text, re.ASCII)
    if found is None:
        raise Usage(
            "duration-invalid",
            f"expected a duration as `90s`, `30m`, `2h`, `1d`, got `{text[:40]}`",
            hint="a whole number from 1, then s, m, h or d",
        )
    return int(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]]


def _said_as(param: typer.CallbackParam) -> str:
    return f"`{param.opts[0]}`" if param.opts[0].startswith("-") else (param.name or "").upper()


def _id(metavar: str, *kinds: str, says: str) -> Any:
    """An argument that is the id of a record of these kinds, or of several; the shell offers those that there are."""
    return typer.Argument(
        metavar=metavar,
        help=says,
        callback=a_record(*kinds),
        autocompletion=offer_records(*kinds),
        show_default=False,
    )


Request = Annotated[str, _id("REQUEST", "req", says="The request's id, as `req-1a2b3c4d` (8 digits or more).")]

Requests = Annotated[
    list[str],
    _id("REQUEST", "req", says="Ids of requests, as `req-1a2b3c4d` (8 digits or more). Each is signed by itself."),
]

StepOrder = Annotated[str, _id("REQUEST", "stp", says="The step's request, as `stp-1a2b3c4d`.")]

BreakGlassUse = Annotated[str, _id("USE", "brk", says="The use's id, as `brk-1a2b3c4d` (8 digits or more).")]

Offered = Annotated[str, _id("OFFER", "ofr", says="The offer's id, as `ofr-1a2b3c4d` (8 digits or more).")]

Erasable = Annotated[str, _id("RECORD", says="The record's id, as `req-1a2b3c4d` (8 digits or more).")]

Suspension = Annotated[str, _id("SUSPENSION", "sus", says="Its id, as `sus-1a2b3c4d` (8 digits or more).")]

_ENTRY: Any = typer.Argument(
    metavar="ENTRY",
    help="Index of the entry, or a record id as `req-1a2b3c4d` (8 digits or more).",
    callback=an_entry,
    autocompletion=offer_records(),
    show_default=False,
)

Entry = Annotated[str, _ENTRY]

EntryOrNone = Annotated[str | None, _ENTRY]

Resource = Annotated[
    str,
    typer.Argument(
        metavar="RESOURCE",
        help="As `model/aurora`, `host/gpu1`, or the whole URI.",
        callback=a_resource,
        autocompletion=offer_names("resources"),
    ),
]
