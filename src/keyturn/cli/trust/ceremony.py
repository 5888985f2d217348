"""`keyturn trust propose | show | sign | publish`: see a change of the lab's trust whole, sign it, put it in force.

Mounted under `trust` by its module. What is shown is what the staged bytes say, and what is signed is what was shown.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keyturn.cli import output
from keyturn.cli.options import Json, Lab, OtherTrustKey, Yes
from keyturn.cli.trust.compared import compared, in_words
from keyturn.cli.trust.void import entry_rows

if TYPE_CHECKING:
    from rich.console import Console

    from keyturn.app.trust.show_trust import Shown
    from keyturn.trust.proposal import ProposedVersion

__all__ = ["propose", "publish", "show", "sign"]


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
    from keyturn.adapters.files.config_files import read_small
    from keyturn.adapters.keys.webauthn_enrolment import WebauthnEnrolment
    from keyturn.app.trust.enrol_member import enrol_members
    from keyturn.app.trust.propose_trust import propose_trust
    from keyturn.app.trust.show_trust import show_trust
    from keyturn.wiring.lab.places import find_lab
    from keyturn.wiring.trust.trust import own_pin, trust_store

    place = find_lab(lab)
    store = trust_store(place.directory)
    accepted = [read_small(path) for path in acceptance or ()]
    for path, raw in zip(acceptance or (), accepted, strict=True):
        _require_acceptance(path, raw)
    enrol_members(accepted, store=store, clock=SystemClock(), registrations=WebauthnEnrolment())
    propose_trust(renew=renew, replace=replace, store=store, clock=SystemClock())
    shown = show_trust(pinned_sha256=own_pin(place), store=store)
    joining = [compared(raw) for raw in accepted]
    value = {**_as_json(shown), "acceptances": [{"member": member, "keys": keys} for member, keys in joining]}
    output.emit(value, json=json, human=lambda screen: _show(screen, shown))
    if not json:
        for member, keys in joining:
            output.warn(f"compare with {member}, on the phone or in the room: {in_words(keys)}", json=json)
        output.warn(
            "next: each reads it (keyturn trust show) and signs it (keyturn trust sign); then keyturn trust publish",
            json=json,
        )


def _require_acceptance(path: Path, raw: bytes) -> None:
    """Refuse a file that was named by mistake, as the invitation in place of its answer."""
    from keyturn.errors import Malformed
    from keyturn.formats import dsse
    from keyturn.formats.enrolment import parse_acceptance

    try:
        parse_acceptance(dsse.parse_own(raw).payload)
    except Malformed as err:
        raise Malformed(
            "acceptance-none",
            f"`{path}` is no acceptance: {err.message}",
            hint="name the file that `keyturn trust accept` wrote: MEMBER.acceptance.json",
        ) from err


def show(lab: Lab = None, json: Json = False) -> None:
    """Show what awaits signatures: every change whole, who has signed, who could then open what."""
    from keyturn.app.trust.show_trust import show_trust
    from keyturn.wiring.lab.places import find_lab
    from keyturn.wiring.trust.trust import own_pin, trust_store

    place = find_lab(lab)
    pin = own_pin(place)
    store = trust_store(place.directory)
    shown = show_trust(pinned_sha256=pin, store=store)
    if pin is None and store.versions():
        output.warn(
            "warning: you have pinned no root of this lab, so nobody knows what the change is held against", json=json
        )
    output.emit(_as_json(shown), json=json, human=lambda screen: _show(screen, shown))


def sign(
    sha256: Annotated[
        list[str] | None,
        typer.Option(help="Sign only if what is staged has these digests, in order, as `show` gave them."),
    ] = None,
    trust_key: OtherTrustKey = None,
    lab: Lab = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Sign what awaits signatures, with your trust key, after it was shown whole.

    Log entries that it declares void are looked for first: one that can be read, or is not there yet, is signed by nobody.
    """
    import os

    from keyturn.app.trust.show_trust import show_trust
    from keyturn.app.trust.sign_trust import sign_trust
    from keyturn.config.person import home_of
    from keyturn.errors import Refused
    from keyturn.wiring.keys.own_keys import own_trust_signer
    from keyturn.wiring.lab.places import find_lab
    from keyturn.wiring.trust.trust import own_pin, trust_store
    from keyturn.wiring.trust.void import newly_void

    place = find_lab(lab)
    pin = own_pin(place)
    store = trust_store(place.directory)
    shown = show_trust(pinned_sha256=pin, store=store)
    digests = tuple(version.digest for version in shown.versions)
    if sha256 and tuple(sha256) != digests:
        raise Refused("trust-not-shown", f"expected {', '.join(sha256)}, staged is {', '.join(digests)}")
    void = newly_void(place, shown)
    if not json:
        _show(output.console(), shown)
        if void:
            entry_rows(output.console(), void, {one.index: "with this" for one in void})
    output.confirm("Sign this?", yes=yes)
    signer = own_trust_signer(home_of(os.environ), named=trust_key)
    signed = sign_trust(signer, shown=digests, pinned_sha256=pin, store=store)
    output.emit(
        {"human": signed.human, "signed": [{"role": r, "version": v, "sha256": d} for r, v, d in signed.versions]},
        json=json,
        human=lambda screen: screen.print(
            f"signed as {signed.human}: " + ", ".join(f"{role} version {number}" for role, number, _ in signed.versions)
        ),
    )
    if not json:
        _say_next(show_trust(pinned_sha256=pin, store=store))


def _say_next(shown: Shown) -> None:
    """Say, behind a signature, how many more it takes; one that was there already counts once."""
    needs = {f"{version.role} {more}" for version in shown.versions for _, more in version.needs if more}
    output.warn(
        f"next: more people sign ({', '.join(sorted(needs))}): keyturn trust sign"
        if needs
        else "next: keyturn trust publish",
        json=False,
    )


def publish(lab: Lab = None, json: Json = False) -> None:
    """Publish what enough humans have signed: from then on it is in force, as soon as it is witnessed in the log."""
    from keyturn.adapters.clock import SystemClock
    from keyturn.app.trust.publish_trust import publish_trust
    from keyturn.wiring.lab.places import find_lab
    from keyturn.wiring.log.log import log_writer
    from keyturn.wiring.trust.trust import lab_keys, trust_store

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


def _as_json(shown: Shown) -> dict[str, object]:
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
        screen.print("compare it with a coworker, on the phone or in the room, then: keyturn trust pin SHA256")
