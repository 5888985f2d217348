"""`keyturn trust invite | accept | remove`: who joins, with keys that never leave their machine, gets new keys, and leaves.

Mounted under `trust` by its module. Neither grants anything: people sign who belongs to a lab (`cli/trust/ceremony.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from keyturn.cli import output
from keyturn.cli.completion import offer_names
from keyturn.cli.options import Json, Lab
from keyturn.cli.trust.compared import compared, in_words

if TYPE_CHECKING:
    from keyturn.app.trust.accept_invitation import NewKey
    from keyturn.app.trust.invite_member import Offer
    from keyturn.config.person import OwnKey
    from keyturn.crypto.dsse_signing import RecordSigner
    from keyturn.formats.enrolment import InviteeKind, NewKeys

__all__ = ["accept", "invite", "remove"]


def invite(
    member: Annotated[
        str | None,
        typer.Argument(
            metavar="MEMBER", help="The id that is offered, as `bob` or `ada+coder`. Never reused.", show_default=False
        ),
    ] = None,
    kind: Annotated[
        Literal["human", "agent", "workload", "custodian"],
        typer.Option(help="A custodian signs root only, for recovery."),
    ] = "human",
    responsible: Annotated[
        list[str] | None,
        typer.Option(help="A human who answers for an agent or workload.", autocompletion=offer_names("members")),
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option(help="A group to join, which is there. Repeat for more.", autocompletion=offer_names("groups")),
    ] = None,
    new_group: Annotated[
        list[str] | None,
        typer.Option(
            help="A group to found; the member joins it, or whoever the CSV file puts into it. Repeat for more."
        ),
    ] = None,
    signs_trust: Annotated[
        bool | None,
        typer.Option(
            "--signs-trust/--no-signs-trust",
            help="Whether a human gets a trust key as well. Default: yes; for new keys, when he has one that is replaced.",
        ),
    ] = None,
    attested: Annotated[bool, typer.Option("--attested", help="Take only keys that their maker attests.")] = False,
    new_keys: Annotated[
        Literal["beside", "instead"] | None,
        typer.Option(
            help="For somebody who is there: other keys beside his, or instead of all of them, when they are lost."
        ),
    ] = None,
    team: Annotated[
        Path | None,
        typer.Option(
            "--csv",
            help="Invite a team: a CSV file with member,kind,groups,responsible,signs_trust,attested.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Where to write it; with --csv, the directory. Default: <member>.invitation.json, here."),
    ] = None,
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Invite a member, or a team: writes an invitation to hand to each. It holds no secret and grants nothing."""
    from keyturn.adapters.clock import SystemClock, SystemEntropy
    from keyturn.adapters.files.config_files import read_small, write_new
    from keyturn.app.trust.invite_member import invite_members
    from keyturn.config import team as team_config
    from keyturn.errors import Usage
    from keyturn.wiring.lab.places import find_lab
    from keyturn.wiring.trust.trust import trust_store

    if (member is None) == (team is None):
        raise Usage("option-missing", "expected a member's id, or --csv FILE", hint="keyturn trust invite bob")
    store, founded = trust_store(find_lab(lab).directory), tuple(new_group or ())
    if team is not None:
        joining = team_config.parse(read_small(team), where=str(team))
        offers = [
            _offer(
                one.member,
                one.kind,
                one.responsible,
                tuple(group for group in one.groups if group not in founded),
                tuple(group for group in one.groups if group in founded),
                one.signs_trust,
                bool(one.attested),
                new_keys,
            )
            for one in joining
        ]
        paths = [(out or Path()) / f"{offer.member}.invitation.json" for offer in offers]
    else:
        offers = [
            _offer(
                member or "",
                kind,
                tuple(responsible or ()),
                tuple(group or ()),
                founded,
                signs_trust,
                attested,
                new_keys,
            )
        ]
        paths = [out or Path(f"{member}.invitation.json")]
    for path in paths:
        if path.exists():
            raise Usage(
                "file-exists",
                f"`{path}` is there already, and nobody was invited",
                hint="--out FILE; with --csv, --out DIRECTORY",
            )
    made = invite_members(offers, store=store, clock=SystemClock(), entropy=SystemEntropy())
    for path, raw in zip(paths, made, strict=True):
        write_new(path, raw)
    written = [
        {"invitation": str(path), "member": offer.member, "kind": offer.kind}
        for path, offer in zip(paths, offers, strict=True)
    ]
    output.emit(
        written if team is not None else written[0],
        json=json,
        human=lambda screen: screen.print(
            "\n".join(f"{w['invitation']}: give it to {w['member']}, who runs `keyturn trust accept`" for w in written)
        ),
    )


def _offer(
    member: str,
    kind: InviteeKind,
    responsible: tuple[str, ...],
    groups: tuple[str, ...],
    new_groups: tuple[str, ...],
    signs_trust: bool | None,
    attested: bool,
    new_keys: NewKeys | None,
) -> Offer:
    from keyturn.app.trust.invite_member import Offer
    from keyturn.errors import Usage

    owner, plus, _ = member.partition("+")
    answering = responsible or ((owner,) if plus else ())
    if kind in ("agent", "workload") and not answering:
        raise Usage("option-missing", f"expected who answers for the {kind} `{member}`", hint="--responsible ada")
    if attested and kind != "human":
        raise Usage("key-kind", f"expected a human to sign with an attested passkey, got the {kind} `{member}`")
    return Offer(
        member=member,
        kind=kind,
        responsible=answering,
        groups=groups,
        new_groups=new_groups,
        signs_trust=signs_trust,
        attested=attested,
        new_keys=new_keys,
    )


def remove(
    member: Annotated[
        str,
        typer.Argument(
            metavar="MEMBER",
            help="Whose place ends. The id is never anybody else's.",
            autocompletion=offer_names("members"),
        ),
    ],
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Take a member out of the draft, with every key: whoever left. It counts when people have signed it."""
    from keyturn.app.trust.remove_member import remove_member
    from keyturn.wiring.lab.places import find_lab
    from keyturn.wiring.trust.trust import trust_store

    remove_member(member, store=trust_store(find_lab(lab).directory))
    output.emit(
        {"member": member, "state": "removed from the draft"},
        json=json,
        human=lambda screen: screen.print(
            output.plain(
                f"{member} is out of the draft, and in the lab until people have signed it\n"
                f"next: keyturn trust propose, sign, publish; at once: keyturn trust suspend --member {member} --reason WHY"
            )
        ),
    )


def accept(
    invitation: Annotated[Path, typer.Argument(metavar="INVITATION", help="The invitation that you were given.")],
    page: Annotated[
        str,
        typer.Option(
            "--page", help="The roster's signing page at which a passkey is made: on localhost, or another operator's."
        ),
    ] = "http://localhost:8722",
    full_name: Annotated[str, typer.Option("--full-name", help="Your name, for people.")] = "",
    member_key: Annotated[
        list[str] | None,
        typer.Option(
            help="Where a key to enrol is: `software` (the default); `passkey`, made in your browser; `fido2`, made in a "
            "security key without one; `ssh:FILE.pub`; or one on a token, as `pkcs11:token=T;object=L?module-path=/path.so`. "
            "Repeat for more; you ask with the first."
        ),
    ] = None,
    trust_key: Annotated[
        str | None,
        typer.Option(
            help="Where your trust key is, if you are asked for one: `software` (the default), or a `pkcs11:` URI as above."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where to write it. Default: <member>.acceptance.json")] = None,
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Accept an invitation: makes your keys in your home, and an acceptance to give back. Private keys stay with you."""
    import os
    from dataclasses import replace

    from keyturn.adapters.clock import SystemClock, SystemEntropy
    from keyturn.adapters.files.config_files import read_small, replace_file, write_new
    from keyturn.adapters.files.key_files import KeysInTheEnd
    from keyturn.app.trust.accept_invitation import accept_invitation
    from keyturn.config import person as person_config
    from keyturn.errors import Usage
    from keyturn.formats.enrolment import parse_invitation
    from keyturn.wiring.keys.new_keys import FoundKey, new_key, new_trust_key
    from keyturn.wiring.keys.own_keys import own_software_key
    from keyturn.wiring.trust.trust import person_keys

    raw = read_small(invitation)
    offered = parse_invitation(raw)
    home = person_config.home_of(os.environ)
    before = person_config.parse(read_small(home.config)) if home.config.exists() else None
    if before is not None and (offered.new_keys is None or before.member != offered.member):
        raise Usage(
            "file-exists",
            f"`{home.config}` is there already: one home is one member",
            hint="KEYTURN_HOME=NEW_DIR keyturn trust accept FILE",
        )
    path = out or Path(f"{offered.member}.acceptance.json")
    if path.exists():
        raise Usage("file-exists", f"`{path}` is there already", hint="--out FILE")
    place = lab if lab is None or lab.startswith(("http://", "https://")) else str(Path(lab).absolute())
    keys = KeysInTheEnd(person_keys(home))
    found: list[FoundKey] = []
    trust: list[OwnKey | None] = []

    def own(_invitation: object) -> tuple[NewKey, ...]:
        found.extend(new_key(named, keys=keys, invitation=raw, page=page) for named in member_key or ("software",))
        return tuple(one.new for one in found)

    def own_trust() -> RecordSigner:
        signer, place_of = new_trust_key(trust_key, keys=keys)
        trust.append(place_of)
        return signer

    acceptance = accept_invitation(
        raw,
        name=full_name or offered.member,
        own=own,
        own_trust=own_trust,
        clock=SystemClock(),
        entropy=SystemEntropy(),
    )
    listed = tuple(one.own for one in found) if member_key else ()
    keys.keep()
    if before is None:
        config = person_config.PersonConfig(
            member=offered.member, lab=place, pins={}, keys=listed, trust=trust[0] if trust else None
        )
        write_new(home.config, person_config.render(config), mode=0o600)
    else:
        earlier = (before.keys or (own_software_key(home),)) if offered.new_keys == "beside" else ()
        after = replace(before, keys=(*earlier, *listed), trust=trust[0] if trust else before.trust)
        replace_file(home.config, person_config.render(after), mode=0o600)
    write_new(path, acceptance)
    _, made = compared(acceptance)
    output.emit(
        {"acceptance": str(path), "member": offered.member, "lab": offered.lab, "home": str(home.path), "keys": made},
        json=json,
        human=lambda screen: screen.print(
            output.plain(
                f"{path}: give it back; your keys are in {home.path}, and stay there\n"
                f"to be read to whoever asks, on the phone or in the room: {in_words(made)}\n"
                f"you are {offered.member} of {offered.lab}"
                + ("" if place else "\nfrom now on say where the lab is: --lab DIRECTORY or URL, or KEYTURN_LAB")
            )
        ),
    )
