"""`keyturn trust`: who belongs to a lab, what its policy is, and the signatures that make it so."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from keyturn.cli import output
from keyturn.cli.options import Json, Lab, Yes
from keyturn.cli.suspend import lift, suspend, suspended

if TYPE_CHECKING:
    from rich.console import Console

    from keyturn.app.accept_invitation import NewKey
    from keyturn.app.show_trust import Shown
    from keyturn.app.trust_log import TrustLog
    from keyturn.trust.proposal import ProposedVersion

__all__ = ["app"]

app = typer.Typer(
    help="Members, policy and keys: propose a change, see it whole, sign it, publish it.", no_args_is_help=True
)

app.command()(suspend)
app.command()(lift)
app.command()(suspended)


@app.command()
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


@app.command()
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


@app.command()
def propose(
    acceptance: Annotated[
        list[Path] | None, typer.Option(help="An acceptance to add to the draft. Repeat for more.")
    ] = None,
    renew: Annotated[bool, typer.Option("--renew", help="Also when nothing changed: new expiry dates.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Throw away a proposal that has signatures.")] = False,
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Propose what lab/trust/draft says: stages the next root and targets versions for people to see and sign."""
    from keyturn.adapters.clock import SystemClock
    from keyturn.adapters.config_files import read_small
    from keyturn.adapters.webauthn_enrolment import WebauthnEnrolment
    from keyturn.app.enrol_member import enrol_member
    from keyturn.app.propose_trust import propose_trust
    from keyturn.app.show_trust import show_trust
    from keyturn.wiring.places import find_lab
    from keyturn.wiring.trust import own_pin, trust_store

    place = find_lab(lab)
    store = trust_store(place.directory)
    for path in acceptance or ():
        enrol_member(read_small(path), store=store, clock=SystemClock(), registrations=WebauthnEnrolment())
    propose_trust(renew=renew, replace=replace, store=store, clock=SystemClock())
    shown = show_trust(pinned_sha256=own_pin(place), store=store)
    output.emit(_as_json(shown), json=json, human=lambda screen: _show(screen, shown))
    if not json:
        output.warn(
            "next: each reads it (keyturn trust show) and signs it (keyturn trust sign); then keyturn trust publish",
            json=json,
        )


@app.command()
def show(lab: Lab = None, json: Json = False) -> None:
    """Show what awaits signatures: every change whole, who has signed, who could then open what."""
    from keyturn.app.show_trust import show_trust
    from keyturn.wiring.places import find_lab
    from keyturn.wiring.trust import own_pin, trust_store

    place = find_lab(lab)
    pin = own_pin(place)
    store = trust_store(place.directory)
    shown = show_trust(pinned_sha256=pin, store=store)
    if pin is None and store.versions():
        output.warn(
            "warning: you have pinned no root of this lab, so nobody knows what the change is held against", json=json
        )
    output.emit(_as_json(shown), json=json, human=lambda screen: _show(screen, shown))


@app.command()
def sign(
    sha256: Annotated[
        list[str] | None,
        typer.Option(help="Sign only if what is staged has these digests, in order, as `show` gave them."),
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="Another trust key than your home's: an offline or outgoing one.")
    ] = None,
    lab: Lab = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Sign what awaits signatures, with your trust key, after it was shown whole."""
    import os

    from keyturn.adapters.key_files import KeyFiles
    from keyturn.app.show_trust import show_trust
    from keyturn.app.sign_trust import sign_trust
    from keyturn.config.person import home_of
    from keyturn.errors import Refused
    from keyturn.wiring.places import find_lab
    from keyturn.wiring.trust import own_pin, passphrase, person_keys, trust_store

    place = find_lab(lab)
    pin = own_pin(place)
    store = trust_store(place.directory)
    shown = show_trust(pinned_sha256=pin, store=store)
    digests = tuple(version.digest for version in shown.versions)
    if sha256 and tuple(sha256) != digests:
        raise Refused("trust-not-shown", f"expected {', '.join(sha256)}, staged is {', '.join(digests)}")
    if not json:
        _show(output.console(), shown)
    output.confirm("Sign this?", yes=yes)
    keys = person_keys(home_of(os.environ)) if key is None else KeyFiles(lambda _: key, passphrase=passphrase())
    signed = sign_trust(keys.read("trust"), shown=digests, pinned_sha256=pin, store=store)
    output.emit(
        {"human": signed.human, "signed": [{"role": r, "version": v, "sha256": d} for r, v, d in signed.versions]},
        json=json,
        human=lambda screen: screen.print(
            f"signed as {signed.human}: " + ", ".join(f"{role} version {number}" for role, number, _ in signed.versions)
        ),
    )


@app.command()
def publish(lab: Lab = None, json: Json = False) -> None:
    """Publish what enough humans have signed: from then on it is in force, as soon as it is witnessed in the log."""
    from keyturn.adapters.clock import SystemClock
    from keyturn.app.publish_trust import publish_trust
    from keyturn.wiring.log import log_writer
    from keyturn.wiring.places import find_lab
    from keyturn.wiring.trust import lab_keys, trust_store

    place = find_lab(lab)
    with log_writer(place) as log:
        done = publish_trust(
            store=trust_store(place.directory),
            log=log,
            online=lab_keys(place.directory).read("online"),
            clock=SystemClock(),
        )
    output.emit(
        {
            "root_sha256": done.root_sha256,
            "published": [
                {"role": role, "version": number, "index": index}
                for (role, number), index in zip(done.versions, done.log_indices, strict=True)
            ],
        },
        json=json,
        human=lambda screen: _published(screen, done.versions, done.root_sha256),
    )


@app.command()
def log(lab: Lab = None, json: Json = False) -> None:
    """List every published version, verified: who signed it, when it ends."""
    from keyturn.wiring.pinned_log import trust_log_of
    from keyturn.wiring.places import find_lab

    found, pinned = trust_log_of(find_lab(lab))
    output.emit(
        {
            "lab": found.lab,
            "profile": found.profile,
            "root_sha256": found.root_sha256,
            "pinned": pinned,
            "versions": [
                {
                    "role": link.role,
                    "version": link.version,
                    "sha256": link.digest,
                    "signed_by": sorted(link.signers),
                    "expires_at": link.expires_at,
                }
                for link in found.links
            ],
            "warnings": found.warnings,
        },
        json=json,
        human=lambda screen: _log(screen, found, pinned=pinned),
    )
    if not json:
        for warning in found.warnings:
            output.warn(f"warning: {warning}", json=json)


@app.command()
def pin(
    sha256: Annotated[str, typer.Argument(help="The SHA-256 of the lab's first root, as a coworker read it to you.")],
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Pin the lab's first root, whose SHA-256 you compared with a coworker by another way than this machine."""
    from keyturn.wiring.pinned_log import pin_root
    from keyturn.wiring.places import find_lab
    from keyturn.wiring.typed import root_digest

    sha256 = root_digest("SHA256", sha256)
    name = pin_root(find_lab(lab), sha256)
    output.emit(
        {"lab": name, "root_sha256": sha256},
        json=json,
        human=lambda screen: screen.print(f"pinned {sha256} for {name}"),
    )


def _as_json(shown: Shown) -> object:
    return {
        "versions": [
            {
                "role": version.role,
                "version": version.version,
                "sha256": version.digest,
                "expires_at": version.expires_at,
                "signed_by": sorted(version.signed_by),
                "needs": [{"of": what, "more": more} for what, more in version.needs],
                "changes": [{"path": change.path, "lines": change.lines} for change in version.changes],
            }
            for version in shown.versions
        ],
        "coalitions": shown.coalitions,
    }


def _show(screen: Console, shown: Shown) -> None:
    for version in shown.versions:
        _show_version(screen, version)
    for line in shown.coalitions:
        screen.print(output.plain(f"who can: {line}"))


def _show_version(screen: Console, version: ProposedVersion) -> None:
    screen.print(f"{version.role} version {version.version}   sha256 {version.digest}")
    for change in version.changes:
        if change.path != "root":
            screen.print(f"  {change.path}")
        for line in change.lines:
            screen.print(output.plain(f"    {line}"))
    signed = ", ".join(sorted(version.signed_by)) or "nobody yet"
    needs = "; ".join(f"{more} more of those whom {what} names" for what, more in version.needs if more)
    screen.print(f"  signed by {signed}; {f'needs {needs}' if needs else 'that is enough'}\n")


def _published(screen: Console, versions: tuple[tuple[str, int], ...], root_sha256: str) -> None:
    screen.print("published " + ", ".join(f"{role} version {number}" for role, number in versions))
    if ("root", 1) in versions:
        screen.print(f"first root: sha256 {root_sha256}")
        screen.print("compare it with a coworker by another way, then: keyturn trust pin SHA256")


def _log(screen: Console, found: TrustLog, *, pinned: bool) -> None:
    from rich.table import Table

    from keyturn.formats.posix_time import rfc3339

    screen.print(f"{found.lab}, profile {found.profile}")
    screen.print(f"first root: sha256 {found.root_sha256} ({'pinned by you' if pinned else 'NOT PINNED by you'})")
    table = Table("version", "signed by", "until", "sha256", box=None)
    for link in found.links:
        until = rfc3339(link.expires_at)[:10]
        table.add_row(f"{link.role} {link.version}", ", ".join(sorted(link.signers)), until, link.digest[:16])
    screen.print(table)
