"""`keyturn init`: found a lab."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from keyturn.cli import output
from keyturn.cli.options import Json

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["init"]

DEMO_NAME, DEMO_MEMBER = "demo.example", "ada"


def init(
    directory: Annotated[Path, typer.Argument(metavar="DIRECTORY", help="Where the lab will lie.")] = Path("lab"),
    profile: Annotated[
        Literal["demo", "production"],
        typer.Option(help="`demo`: one machine, software keys may approve. `production`: neither."),
    ] = "production",
    name: Annotated[
        str, typer.Option(help=f"The lab's DNS name. It can never change. Default for `demo`: {DEMO_NAME}.")
    ] = "",
    member: Annotated[
        str, typer.Option(help=f"Your id in the lab. It is never reused. Default for `demo`: {DEMO_MEMBER}.")
    ] = "",
    full_name: Annotated[str, typer.Option("--full-name", help="Your name, for people.")] = "",
    group: Annotated[list[str] | None, typer.Option(help="A group to found, with you in it. Repeat for more.")] = None,
    witness: Annotated[
        list[str] | None, typer.Option(help="A witness of the log. Repeat for more. Default for `demo`: north.")
    ] = None,
    member_key: Annotated[
        str | None,
        typer.Option(
            help="Where your member key is: `software` (the default), `ssh:FILE.pub`, or on a token, as "
            "`pkcs11:token=T;object=L?module-path=/path.so`."
        ),
    ] = None,
    trust_key: Annotated[
        str | None, typer.Option(help="Where your trust key is: `software` (the default), or a `pkcs11:` URI as above.")
    ] = None,
    store: Annotated[
        str, typer.Option(help="Keep the log in this PostgreSQL database, as postgresql://role@host/database.")
    ] = "",
    json: Json = False,
) -> None:
    """Found a lab here: its keys, yours, and a draft of its trust. Nothing is granted until a second human has signed it."""
    from keyturn.app.trust.found_lab import Founding, require_lab_name
    from keyturn.config.person import home_of
    from keyturn.errors import Usage
    from keyturn.formats.text import MemberId
    from keyturn.wiring.lab.new_lab import make_lab

    demo = profile == "demo"
    chosen = [option for option, typed in (("--name", name), ("--member", member)) if demo and not typed]
    if demo:
        name, member = name or DEMO_NAME, member or DEMO_MEMBER
    if not name or not member:
        raise Usage(
            "option-missing", "expected --name and --member", hint="keyturn init --name acme.example --member ada"
        )
    require_lab_name(name)
    _require_form("--member", member, MemberId, "lower-case letters, digits and `._-`, as `ada`")
    home, directory = home_of(os.environ), directory.absolute()
    founding = Founding(
        lab=name,
        profile=profile,
        founder=member,
        founder_name=full_name or member,
        groups=tuple(group or ()),
        witnesses=tuple(witness or (("north",) if demo else ())),
        gates=("release",) if demo else (),
        builder=demo,
    )
    make_lab(directory, home, founding, key=member_key, trust_key=trust_key, store=store or None)
    if chosen:
        output.warn(
            f"for {profile}, {' and '.join(chosen)} {'was' if len(chosen) == 1 else 'were'} chosen for you: "
            f"the lab is {name}, you are {member}; neither can change",
            json=json,
        )
    output.emit(
        {"lab": name, "profile": profile, "directory": str(directory), "home": str(home.path), "state": "founding"},
        json=json,
        human=lambda screen: _show(screen, name, profile, directory, member, home.path),
    )


def _require_form(option: str, text: str, form: object, expected: str) -> None:
    import msgspec

    from keyturn.errors import Usage

    try:
        msgspec.convert(text, form)
    except msgspec.ValidationError as err:
        raise Usage("option-invalid", f"{option}: expected {expected}, got `{text[:80]}`") from err


def _show(screen: Console, name: str, profile: str, directory: Path, member: str, home: Path) -> None:
    screen.print(
        output.plain(
            f"{name} is founding in {directory}, profile {profile}: it grants nothing yet\n"
            f"you are {member}: your keys are in {home}, and stay there\n"
            "next: keyturn trust invite MEMBER    (a lab needs a second human)\n"
            f"      write who may do what into {directory / 'trust' / 'draft'}    (docs/first-lab.md)\n"
            "      keyturn trust propose --acceptance FILE, then `sign` by each of you, then `publish`"
        )
    )
