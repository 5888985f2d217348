"""`keyturn grant`: look at requests and grants, and take them back.

Whatever is signed is shown whole before. What takes access away says NOT IN FORCE until it is witnessed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keyturn.cli import in_force, output
from keyturn.cli.access import asked
from keyturn.cli.access.counter import accept, counter
from keyturn.cli.access.replay import open_share, replay
from keyturn.cli.access.review import review, unreviewed
from keyturn.cli.access.watch import watch
from keyturn.cli.names import Request
from keyturn.cli.options import Json, Key, Lab, Reason, Yes

if TYPE_CHECKING:
    from rich.console import Console

    from keyturn.app.access.show_grants import Explained, Linked, Live

__all__ = ["app"]

app = typer.Typer(help="Requests and grants: list, show, explain, take back, review.", no_args_is_help=True)
app.command()(counter)
app.command()(accept)
app.command()(review)
app.command()(unreviewed)
app.command()(watch)
app.command()(replay)
app.command()(open_share)


@app.command("list")
def list_(lab: Lab = None, json: Json = False) -> None:
    """List the live requests, each with its state."""
    from keyturn.app.access.show_grants import list_grants
    from keyturn.wiring.access.grants import viewed

    with viewed(lab) as seen:
        found = list_grants(seen.view, seen.trust, now=seen.now)
    output.emit(found, json=json, human=lambda screen: _listed(screen, found))


@app.command()
def show(which: Request, lab: Lab = None, json: Json = False) -> None:
    """Show a live request whole, as it was signed, with who approved it, what it needs, and the chain behind a release."""
    from keyturn.app.access.authorize import find_pending
    from keyturn.app.access.request_access import shown
    from keyturn.app.access.show_grants import explain_grant, linked
    from keyturn.cli.custody.chains import as_json, release_lines
    from keyturn.errors import KeyturnError
    from keyturn.wiring.access.grants import viewed

    with viewed(lab) as seen:
        pending = find_pending(seen.view, which)
        found = explain_grant(seen.view, seen.trust, pending.digest, now=seen.now)
        links = linked(seen.view, pending.made, pending.digest, now=seen.now)
        release, missing = None, ""
        try:
            release = asked.chain_behind(seen, pending)
        except KeyturnError as err:  # a request for nonsense is shown all the same
            missing = f"{err.message} [{err.code}]"
    rows = (
        ("request", pending.id),
        *shown(pending.made, pending.subjects),
        *_standing(found.live),
        *asked.offered(links),
        *asked.so_far(found),
    )
    lines = [asked.table(rows), *(release_lines(release) if release else ())]
    if missing:
        lines.append(f"  chain      not to be had: {missing}")
    output.emit(
        {
            "live": found.live,
            "sentences": found.sentences,
            "could_approve": found.could_approve,
            "linked": links,
            "chain": None if release is None else as_json(release.chain),
            "chain_missing": missing,
        },
        json=json,
        human=lambda screen: screen.print(output.plain("\n".join(lines))),
    )


@app.command()
def explain(which: Request, lab: Lab = None, json: Json = False) -> None:
    """Say what a request still needs, and who could approve it."""
    from keyturn.app.access.authorize import find_pending
    from keyturn.app.access.show_grants import explain_grant, linked
    from keyturn.wiring.access.grants import viewed

    with viewed(lab) as seen:
        pending = find_pending(seen.view, which)
        found = explain_grant(seen.view, seen.trust, pending.digest, now=seen.now)
        links = linked(seen.view, pending.made, pending.digest, now=seen.now)
    value = {
        "live": found.live,
        "sentences": found.sentences,
        "could_approve": found.could_approve,
        "hopeless": found.hopeless,
        "linked": links,
    }
    output.emit(value, json=json, human=lambda screen: _explained(screen, found, links))


@app.command()
def bundle(
    which: Request,
    out: Annotated[Path | None, typer.Option(help="Where to write it. Default: <id>.bundle.json")] = None,
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Write a request with its approvals as one file that a gate takes. It proves itself: nobody is believed."""
    from keyturn.adapters.files.config_files import write_new
    from keyturn.app.access.authorize import find_pending
    from keyturn.errors import Unavailable
    from keyturn.grants import bundle as bundles
    from keyturn.wiring.access.grants import viewed

    with viewed(lab) as seen:
        pending = find_pending(seen.view, which)
        found = seen.view.bundle_of(pending.digest)
    if found is None:
        raise Unavailable("bundle-unread", f"some record of {pending.id} could not be read from the log")
    path = out or Path(f"{pending.id}.bundle.json")
    write_new(path, bundles.render(found))
    output.emit({"bundle": str(path)}, json=json, human=lambda screen: screen.print(f"{path}: written"))


@app.command()
def sign_bundle(
    bundle: Annotated[
        Path, typer.Argument(metavar="BUNDLE", help="The file that `keyturn request --break-glass --out` wrote.")
    ],
    reason: Reason = "",
    lab: Lab = None,
    key: Key = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Approve a break-glass request that lies in a file, since the log cannot be reached; your approval is put into it."""
    from keyturn.adapters.files.config_files import read_small, replace_file
    from keyturn.app.access.authorize import require_can_authorize
    from keyturn.app.access.break_glass_file import add_approval, pending_in
    from keyturn.formats.canonical_json import SIZE_BYTES_MAX
    from keyturn.grants import bundle as bundles
    from keyturn.wiring.access.grants import pen
    from keyturn.wiring.lab.places import find_lab

    find_lab(lab)
    found = bundles.parse(read_small(bundle, size_bytes_max=SIZE_BYTES_MAX))
    pending = pending_in(found)
    with pen(lab, approving=True, key=key, payload=found.request.payload) as own:
        seen = own.seen
        require_can_authorize(
            pending, seen.trust, seen.view, member=own.member, keyid=own.key.public.keyid, now=seen.now, approve=True
        )
        asked.show_whole(pending, json=json)
        output.confirm("Approve this?", yes=yes)
        signed = add_approval(
            found, pending, member=own.member, reason=reason, key=own.key, clock=own.clock, entropy=own.entropy
        )
    replace_file(bundle, bundles.render(signed))
    output.emit(
        {"bundle": str(bundle), "approvals": len(signed.authorizations)},
        json=json,
        human=lambda screen: screen.print(f"{bundle}: approved {pending.id} (profile: {seen.trust.profile})"),
    )


@app.command()
def withdraw(
    which: Request,
    reason: Reason = "no longer needed",
    lab: Lab = None,
    key: Key = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Withdraw a request that you made, or that is for you."""
    _revoke(which, reason, lab, key, own=True, yes=yes, json=json)


@app.command()
def revoke(
    which: Request, reason: Reason, lab: Lab = None, key: Key = None, yes: Yes = False, json: Json = False
) -> None:
    """Revoke a request or grant: one human can, and live sessions end with it."""
    _revoke(which, reason, lab, key, own=False, yes=yes, json=json)


def _revoke(which: str, reason: str, lab: str | None, key: str | None, *, own: bool, yes: bool, json: bool) -> None:
    from keyturn.app.access.authorize import find_pending
    from keyturn.app.access.take_away import revoke as revoke_request
    from keyturn.errors import Refused
    from keyturn.wiring.access.grants import desk, wait_until_in_force

    with desk(lab, key=key) as here:
        seen, hand = here.seen, here.hand
        pending = find_pending(seen.view, which)
        if own and hand.member not in (pending.made.requester, pending.made.beneficiary):
            raise Refused("withdraw-other", f"{pending.id} is not yours", hint="keyturn grant revoke, if it must end")
        asked.show_whole(pending, json=json)
        asked.say_if_over(seen, pending, json=json)
        output.confirm("End this request?", yes=yes)
        with in_force.told_anyway(here, json=json):
            logged = revoke_request(pending, hand, seen.trust, seen.view, reason=reason)
            witnessed = wait_until_in_force(seen, logged)
        told = here.gates.told()
    output.emit(
        {**asked.logged_as(logged, in_force=witnessed.cosigned_at), "gates": in_force.as_json(told)},
        json=json,
        human=lambda screen: screen.print(f"{logged.id}: {pending.id} is ended, in force"),
    )
    in_force.show_at_gates(told, json=json)
    in_force.require_at_gates(told)


def _standing(live: Live) -> tuple[tuple[str, str], ...]:
    from keyturn.formats.posix_time import rfc3339

    window = live.window
    times = f"{rfc3339(window.starts_at)} to {rfc3339(window.ends_at)}" if window else "-"
    return (
        ("state", live.state),
        ("window", times),
        ("ended by", live.withdrawn_by or "-"),
        ("profile", live.profile),
    )


def _listed(screen: Console, found: tuple[Live, ...]) -> None:
    if not found:
        screen.print("no request waits or is open\nnext: keyturn request ACTION RESOURCE --reason WHY --gate GATE")
        return
    cells = []
    for live in found:
        made = live.request
        state = "unread" if live.unread else live.state
        about = made.resource.removeprefix(f"keyturn://{made.lab}/")
        cells.append((live.id, state, made.requester, made.action, about, ", ".join(live.approvers) or "-"))
    output.rows(screen, ("request", "state", "who", "action", "resource", "approved by"), cells)
    screen.print(f"profile: {found[0].profile}")


def _explained(screen: Console, found: Explained, links: Linked) -> None:
    screen.print(f"{found.live.id}: {found.live.state} (profile: {found.live.profile})")
    for sentence in found.sentences or ("nothing is missing but what the gate itself checks",):
        screen.print(output.plain(f"  {sentence}"))
    for name, what in asked.offered(links):
        screen.print(output.plain(f"  {name} {what}"))
