"""`keyturn trust invite | accept`: offer somebody a place in the lab, and take it with keys that never leave their machine.

Mounted under `trust` by its module. Neither grants anything: people sign who belongs to a lab (`cli/ceremony.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from keyturn.cli import output
from keyturn.cli.options import Json, Lab

if TYPE_CHECKING:
    from keyturn.app.accept_invitation import NewKey

__all__ = ["accept", "invite"]


def invite(
    member: Annotated[str, typer.Argument(help="The id that is offered, as `bob` or `ada+coder`. Never reused.")],
    kind: Annotated[
        Literal["human", "agent", "workload", "custodian"],
        typer.Option(help="A custodian signs root only, for recovery."),
    ] = "human",
    responsible: Annotated[list[str] | None, typer.Option(help="A human who answers for an agent or workload.")] = None,
    group: Annotated[list[str] | None, typer.Option(help="A group to join. Repeat for more.")] = None,
    signs_trust: Annotated[bool, typer.Option(help="Whether a human gets a trust key as well.")] = True,
    attested: Annotated[bool, typer.Option("--attested", help="Take only passkeys that their maker attests.")] = False,
    out: Annotated[Path | None, typer.Option(help="Where to write it. Default: <member>.invitation.json")] = None,
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Invite a member: writes an invitation to hand over. It holds no secret and grants nothing."""
    from keyturn.adapters.clock import SystemClock, SystemEntropy
    from keyturn.adapters.config_files import write_new
    from keyturn.app.invite_member import invite_member
    from keyturn.errors import Usage
    from keyturn.wiring.places import find_lab
    from keyturn.wiring.trust import trust_store

    machine = kind in ("agent", "workload")
    owner, plus, _ = member.partition("+")
    answering = tuple(responsible or ((owner,) if plus else ()))
    if machine and not answering:
        raise Usage("option-missing", f"expected who answers for the {kind} `{member}`", hint="--responsible ada")
    if attested and kind != "human":
        raise Usage("key-kind", f"expected a human to sign with an attested passkey, got the {kind} `{member}`")
    raw = invite_member(
        member=member,
        kind=kind,
        responsible=answering,
        groups=tuple(group or ()),
        signs_trust=kind == "custodian" or (kind == "human" and signs_trust),
        attested=attested,
        store=trust_store(find_lab(lab).directory),
        clock=SystemClock(),
        entropy=SystemEntropy(),
    )
    path = out or Path(f"{member}.invitation.json")
    write_new(path, raw)
    output.emit(
        {"invitation": str(path), "member": member, "kind": kind},
        json=json,
        human=lambda screen: screen.print(f"{path}: give it to {member}, who runs `keyturn trust accept {path}`"),
    )


def accept(
    invitation: Annotated[Path, typer.Argument(help="The invitation that you were given.")],
    page: Annotated[
        str, typer.Option("--page", help="Where your machine serves that page: the roster's signing page on localhost.")
    ] = "http://localhost:8722",
    full_name: Annotated[str, typer.Option("--full-name", help="Your name, for people.")] = "",
    key: Annotated[
        list[str] | None,
        typer.Option(
            help="A key to enrol: `software` (the default), `passkey`, made in your browser; `ssh:FILE.pub`; or one on a token, "
            "as `pkcs11:token=T;object=L?module-path=/path.so`. Repeat for more; you ask with the first."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where to write it. Default: <member>.acceptance.json")] = None,
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Accept an invitation: makes your keys in your home, and an acceptance to give back. Private keys stay with you."""
    import os

    from keyturn.adapters.clock import SystemClock, SystemEntropy
    from keyturn.adapters.config_files import read_small, write_new
    from keyturn.adapters.key_files import KeysInTheEnd
    from keyturn.app.accept_invitation import accept_invitation
    from keyturn.config import person as person_config
    from keyturn.errors import Usage
    from keyturn.formats.enrolment import parse_invitation
    from keyturn.wiring.new_keys import FoundKey, new_key
    from keyturn.wiring.trust import person_keys

    raw = read_small(invitation)
    offered = parse_invitation(raw)
    home = person_config.home_of(os.environ)
    if home.config.exists():
        raise Usage("file-exists", f"`{home.config}` is there already: one home is one member", hint="KEYTURN_HOME=DIR")
    path = out or Path(f"{offered.member}.acceptance.json")
    if path.exists():
        raise Usage("file-exists", f"`{path}` is there already", hint="--out FILE")
    place = lab if lab is None or lab.startswith(("http://", "https://")) else str(Path(lab).absolute())
    keys = KeysInTheEnd(person_keys(home))
    found: list[FoundKey] = []

    def own(_invitation: object) -> tuple[NewKey, ...]:
        found.extend(new_key(named, keys=keys, invitation=raw, page=page) for named in key or ("software",))
        return tuple(one.new for one in found)

    acceptance = accept_invitation(
        raw,
        name=full_name or offered.member,
        own=own,
        keys=keys,
        clock=SystemClock(),
        entropy=SystemEntropy(),
    )
    listed = tuple(one.own for one in found) if key else ()
    config = person_config.PersonConfig(member=offered.member, lab=place, pins={}, keys=listed)
    keys.keep()
    write_new(home.config, person_config.render(config), mode=0o600)
    write_new(path, acceptance)
    output.emit(
        {"acceptance": str(path), "member": offered.member, "lab": offered.lab, "home": str(home.path)},
        json=json,
        human=lambda screen: screen.print(
            output.plain(
                f"{path}: give it back; your keys are in {home.path}, and stay there"
                + ("" if place else "\nfrom now on say where the lab is: --lab DIRECTORY or URL, or KEYTURN_LAB")
            )
        ),
    )
