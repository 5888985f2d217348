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


def init(
    directory: Annotated[Path, typer.Argument(help="Where the lab will lie.")] = Path("lab"),
    profile: Annotated[
        Literal["demo", "production"],
        typer.Option(help="`demo`: one machine, software keys may approve. `production`: neither."),
    ] = "production",
    name: Annotated[
        str, typer.Option(help="The lab's DNS name. It can never change. In a demo, `demo.example` unless you say it.")
    ] = "",
    member: Annotated[
        str, typer.Option(help="Your id in the lab. It is never reused. In a demo, `ada` unless you say it.")
    ] = "",
    full_name: Annotated[str, typer.Option("--full-name", help="Your name, for people.")] = "",
    group: Annotated[list[str] | None, typer.Option(help="A group to found, with you in it. Repeat for more.")] = None,
    witness: Annotated[list[str] | None, typer.Option(help="A witness of the log. Repeat for more.")] = None,
    store: Annotated[
        str, typer.Option(help="Keep the log in this PostgreSQL database, as postgresql://role@host/database.")
    ] = "",
    json: Json = False,
) -> None:
    """Found a lab here: its keys, yours, and a draft of its trust. Nothing is granted until a second human has signed it."""
    from keyturn.adapters.config_files import replace_file, write_new
    from keyturn.adapters.key_files import KeysInTheEnd
    from keyturn.app.found_lab import Founding, found_lab
    from keyturn.config import lab as lab_config
    from keyturn.config import person as person_config
    from keyturn.config.lab import LabConfig
    from keyturn.errors import Usage
    from keyturn.formats.text import LabName, MemberId
    from keyturn.wiring.store import new_store, typed_store
    from keyturn.wiring.trust import lab_keys, person_keys, trust_store

    demo = profile == "demo"
    if demo:
        name, member = name or "demo.example", member or "ada"
    if not name or not member:
        raise Usage(
            "option-missing", "expected --name and --member", hint="keyturn init --name acme.example --member ada"
        )
    directory = directory.absolute()
    place = directory / "keyturn.toml"
    keyturn_toml = lab_config.render(LabConfig(lab=name, log=None, witnesses={}, store=store or None))
    _require_form("--name", name, LabName, "a DNS name in lower case, as `acme.example`")
    _require_form("--member", member, MemberId, "lower-case letters, digits and `._-`, as `ada`")
    home = person_config.home_of(os.environ)
    config_toml = person_config.render(person_config.PersonConfig(member=member, lab=str(directory), pins={}))
    if place.exists() or home.config.exists():
        taken = place if place.exists() else home.config
        raise Usage(
            "file-exists",
            f"`{taken}` is there already: one home is one member of one lab",
            hint="KEYTURN_HOME=DIR keyturn init DIRECTORY",
        )
    if store:
        new_store(typed_store(store))
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
    own = KeysInTheEnd(person_keys(home))  # so that a disk that is full or read-only leaves no home behind
    found_lab(founding, store=trust_store(directory), person=own, lab_keys=lab_keys(directory))
    replace_file(directory / ".gitignore", _NOT_FOR_GIT)
    own.keep()
    write_new(home.config, config_toml, mode=0o600)
    write_new(place, keyturn_toml)
    output.emit(
        {"lab": name, "profile": profile, "directory": str(directory), "home": str(home.path), "state": "founding"},
        json=json,
        human=lambda screen: _show(screen, name, profile, directory, member, home.path),
    )


_NOT_FOR_GIT = b"""# Private keys, what a process keeps to itself, what is derived again: none of it belongs into a repository.
key
keys/
run/
*.sqlite
*.sqlite-*
*lock
builder/
gates/*/
witnesses/
"""


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
