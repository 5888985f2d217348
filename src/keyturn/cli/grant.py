"""`keyturn request | approve | deny`, and `keyturn grant`: ask for access, agree, refuse, look, and take it back.

Whatever is signed is shown whole before. What takes access away says NOT IN FORCE until it is witnessed.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from keyturn.cli import output
from keyturn.cli.options import Json, Key, Lab, Yes, said_to_people

if TYPE_CHECKING:
    from rich.console import Console

    from keyturn.app.authorize import Pending
    from keyturn.app.show_grants import Explained, Live
    from keyturn.app.sign_record import Logged
    from keyturn.wiring.grants import Viewed

__all__ = ["app", "approve", "deny", "request"]

app = typer.Typer(help="Requests and grants: list, show, explain, take back.", no_args_is_help=True)

Which = Annotated[
    str, typer.Argument(metavar="REQUEST", help="The request's id, as `req-1a2b3c4d` (8 digits or more).")
]
Because = Annotated[str, typer.Option("--reason", help="Why. Coworkers and auditors read it.", callback=said_to_people)]


def request(
    action: Annotated[str, typer.Argument(help="As `weights:read`, `host:shell`.")],
    resource: Annotated[str, typer.Argument(help="As `model/aurora`, or the whole URI.")],
    reason: Annotated[str, typer.Option("--reason", help="Why: your coworkers decide by it.", callback=said_to_people)],
    gate: Annotated[str, typer.Option(help="The gate that will let you in, as `gpu1`, or the whole URI.")],
    permit: Annotated[str | None, typer.Option(help="The permit to ask by. Default: the only one that fits.")] = None,
    duration: Annotated[str | None, typer.Option(help="As `30m`, `2h`. Default: the permit's longest.")] = None,
    beneficiary: Annotated[str | None, typer.Option(help="Who gets the access. Default: you.")] = None,
    ticket: Annotated[str, typer.Option(help="A ticket's number.", callback=said_to_people)] = "",
    session_key: Annotated[
        str | None, typer.Option(help="The key that the session will prove: base64 of its SubjectPublicKeyInfo.")
    ] = None,
    bytes_max: Annotated[int | None, typer.Option(min=0, help="Bytes that you need at most.")] = None,
    renews: Annotated[str | None, typer.Option(help="The live request that this one renews or counters.")] = None,
    lab: Lab = None,
    key: Key = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Ask for access to a resource. Coworkers approve; the gate verifies all of it."""
    from keyturn.app.authorize import find_pending
    from keyturn.app.request_access import Wish, draft_request, of_resource, request_access, require_hope, shown
    from keyturn.crypto.keys import PublicKey
    from keyturn.wiring.grants import desk, wait_until_in_force
    from keyturn.wiring.typed import typed, uri

    if session_key is not None:
        typed("`--session-key`", PublicKey.from_text, session_key)
    with desk(lab, key=key) as here:
        seen, hand = here.seen, here.hand
        wish = Wish(
            requester=hand.member,
            beneficiary=beneficiary,
            action=action,
            resource=uri("RESOURCE", resource, lab=seen.trust.lab),
            gate=uri("`--gate`", gate if "/" in gate else f"gate/{gate}", lab=seen.trust.lab),
            permit=permit,
            justification=reason,
            ticket=ticket,
            duration_s=None if duration is None else seconds(duration),
            not_before=None,
            pending_s=None,
            session_key=session_key,
            bytes_max=bytes_max,
            follows=None if renews is None else find_pending(seen.view, renews).digest,
        )
        made = draft_request(wish, seen.policy, keyid=hand.key.public.keyid, clock=hand.clock, entropy=hand.entropy)
        require_hope(made, seen.policy, now=seen.now)
        subjects = of_resource(made)
        output.warn(_table(shown(made, subjects)))
        output.confirm("Sign this request?", yes=yes)
        logged = request_access(made, subjects=subjects, key=hand.key, log=hand.log)
        witnessed = wait_until_in_force(seen, logged)
    output.emit(
        _said(logged, in_force=witnessed.cosigned_at),
        json=json,
        human=lambda screen: screen.print(
            f"{logged.id}: asked; a coworker now runs `keyturn approve {logged.id[:12]}`"
        ),
    )


def approve(
    which: Which, reason: Because = "", lab: Lab = None, key: Key = None, yes: Yes = False, json: Json = False
) -> None:
    """Approve a request, after it was shown whole. Only humans can, and nobody for himself."""
    _authorize("approve", which, reason, lab, key=key, yes=yes, json=json)


def deny(which: Which, reason: Because, lab: Lab = None, key: Key = None, yes: Yes = False, json: Json = False) -> None:
    """Deny a request: one human's denial ends it, as soon as it is witnessed."""
    _authorize("deny", which, reason, lab, key=key, yes=yes, json=json)


@app.command("list")
def list_(lab: Lab = None, json: Json = False) -> None:
    """List the live requests, each with its state."""
    from keyturn.app.show_grants import list_grants
    from keyturn.wiring.grants import viewed

    with viewed(lab) as seen:
        found = list_grants(seen.view, seen.trust, now=seen.now)
    output.emit(found, json=json, human=lambda screen: _listed(screen, found))


@app.command()
def show(which: Which, lab: Lab = None, json: Json = False) -> None:
    """Show a live request whole, as it was signed, with who approved it."""
    from keyturn.app.authorize import find_pending
    from keyturn.app.request_access import shown
    from keyturn.app.show_grants import live_request
    from keyturn.wiring.grants import viewed

    with viewed(lab) as seen:
        pending = find_pending(seen.view, which)
        live = live_request(seen.view, seen.trust, pending.digest, now=seen.now)
    rows = (("request", pending.id), *shown(pending.made, pending.subjects), *_standing(live))
    output.emit(live, json=json, human=lambda screen: screen.print(output.plain(_table(rows))))


@app.command()
def explain(which: Which, lab: Lab = None, json: Json = False) -> None:
    """Say what a request still needs, and who could approve it."""
    from keyturn.app.authorize import find_pending
    from keyturn.app.show_grants import explain_grant
    from keyturn.wiring.grants import viewed

    with viewed(lab) as seen:
        found = explain_grant(seen.view, seen.trust, find_pending(seen.view, which).digest, now=seen.now)
    output.emit(found, json=json, human=lambda screen: _explained(screen, found))


@app.command()
def bundle(
    which: Which,
    out: Annotated[Path | None, typer.Option(help="Where to write it. Default: <id>.bundle.json")] = None,
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Write a request with its approvals as one file that a gate takes. It proves itself: nobody is believed."""
    from keyturn.adapters.config_files import write_new
    from keyturn.app.authorize import find_pending
    from keyturn.errors import Unavailable
    from keyturn.grants import bundle as bundles
    from keyturn.wiring.grants import viewed

    with viewed(lab) as seen:
        pending = find_pending(seen.view, which)
        found = seen.view.bundle_of(pending.digest)
    if found is None:
        raise Unavailable("bundle-unread", f"some record of {pending.id} could not be read from the log")
    path = out or Path(f"{pending.id}.bundle.json")
    write_new(path, bundles.render(found))
    output.emit({"bundle": str(path)}, json=json, human=lambda screen: screen.print(f"{path}: written"))


@app.command()
def withdraw(
    which: Which, reason: Because = "no longer needed", lab: Lab = None, yes: Yes = False, json: Json = False
) -> None:
    """Withdraw your own request."""
    _revoke(which, reason, lab, own=True, yes=yes, json=json)


@app.command()
def revoke(which: Which, reason: Because, lab: Lab = None, yes: Yes = False, json: Json = False) -> None:
    """Revoke a request or grant: one human can, and live sessions end with it."""
    _revoke(which, reason, lab, own=False, yes=yes, json=json)


def seconds(text: str) -> int:
    """Parse `90s`, `30m`, `2h` or `1d`, or raise `Usage`."""
    from keyturn.errors import Usage

    found = re.match(r"([1-9][0-9]{0,6})([smhd])\Z", text, re.ASCII)
    if found is None:
        raise Usage("duration-invalid", f"expected a duration as `90s`, `30m`, `2h`, `1d`, got `{text[:40]}`")
    return int(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]]


def _authorize(
    decision: Literal["approve", "deny"],
    which: str,
    reason: str,
    lab: str | None,
    *,
    key: str | None,
    yes: bool,
    json: bool,
) -> None:
    from keyturn.app.authorize import authorize, find_pending, require_can_authorize
    from keyturn.wiring.grants import desk, wait_until_in_force

    with desk(lab, approving=decision == "approve", key=key) as here:
        seen, hand = here.seen, here.hand
        pending = find_pending(seen.view, which)
        require_can_authorize(
            pending,
            seen.trust,
            seen.view,
            member=hand.member,
            keyid=hand.key.public.keyid,
            now=seen.now,
            approve=decision == "approve",
        )
        _show_whole(pending)
        if decision == "approve" and pending.made.action == "model:release":
            _show_chain(seen, pending)
        output.confirm(f"{decision.title()} this?", yes=yes)
        logged = authorize(
            pending,
            decision,
            member=hand.member,
            reason=reason,
            key=hand.key,
            log=hand.log,
            clock=hand.clock,
            entropy=hand.entropy,
        )
        witnessed = wait_until_in_force(seen, logged)
    verb = "approved" if decision == "approve" else "denied"
    profile = f" (profile: {seen.trust.profile})"
    output.emit(
        _said(logged, in_force=witnessed.cosigned_at),
        json=json,
        human=lambda screen: screen.print(f"{logged.id}: {verb} {pending.id}, in force{profile}"),
    )


def _revoke(which: str, reason: str, lab: str | None, *, own: bool, yes: bool, json: bool) -> None:
    from keyturn.app.authorize import find_pending
    from keyturn.app.take_away import revoke as revoke_request
    from keyturn.errors import Refused
    from keyturn.wiring.grants import desk, wait_until_in_force

    with desk(lab) as here:
        seen, hand = here.seen, here.hand
        pending = find_pending(seen.view, which)
        if own and hand.member not in (pending.made.requester, pending.made.beneficiary):
            raise Refused("withdraw-other", f"{pending.id} is not yours", hint="keyturn grant revoke, if it must end")
        _show_whole(pending)
        output.confirm("End this request?", yes=yes)
        logged = revoke_request(pending, hand, seen.trust, seen.view, reason=reason)
        witnessed = wait_until_in_force(seen, logged)
    output.emit(
        _said(logged, in_force=witnessed.cosigned_at),
        json=json,
        human=lambda screen: screen.print(f"{logged.id}: {pending.id} is ended, in force"),
    )


def _show_whole(pending: Pending) -> None:
    from keyturn.app.request_access import shown

    output.warn(_table((("request", pending.id), *shown(pending.made, pending.subjects))))


def _show_chain(seen: Viewed, pending: Pending) -> None:
    from keyturn.app.open_release import review_release
    from keyturn.bulk.threads import on_all_cores
    from keyturn.cli.release import chain_lines
    from keyturn.formats.uri import Uri

    draft = review_release(
        seen.reader,
        pending.subjects,
        root_json=seen.view.pinned.root.raw,
        pinned_sha256=seen.view.pinned.root_sha256,
        resource=Uri.parse(pending.made.resource),
        now=seen.now,
        each=on_all_cores,
    )
    output.warn("\n".join(chain_lines(draft)))


def _said(logged: Logged, *, in_force: int | None) -> dict[str, object]:
    return {"id": logged.id, "digest": logged.digest, "index": logged.index, "witnessed_at": in_force}


def _standing(live: Live) -> tuple[tuple[str, str], ...]:
    from keyturn.formats.posix_time import rfc3339

    window = live.window
    times = f"{rfc3339(window.starts_at)} to {rfc3339(window.ends_at)}" if window else "-"
    return (
        ("state", live.state),
        ("approved by", ", ".join(live.approvers) or "nobody"),
        ("window", times),
        ("ended by", live.withdrawn_by or "-"),
        ("profile", live.profile),
    )


def _table(rows: tuple[tuple[str, str], ...]) -> str:
    # A newline in what somebody wrote begins no row of its own: it could look like another field of the request.
    width = max(len(name) for name, _ in rows)
    margin = f"\n  {'':<{width}}  | "
    return "\n".join(f"  {name:<{width}}  {value.replace(chr(10), margin)}" for name, value in rows)


def _listed(screen: Console, found: tuple[Live, ...]) -> None:
    from rich.table import Table

    if not found:
        screen.print("no live requests")
        return
    table = Table(box=None)
    table.add_column("request", no_wrap=True, min_width=len(found[0].id))  # an id that is cut off cannot be typed
    for title in ("state", "who", "action", "resource", "approved by"):
        table.add_column(title)
    for live in found:
        made = live.request
        state = "unread" if live.unread else live.state
        about = made.resource.removeprefix(f"keyturn://{made.lab}/")
        cells = (live.id, state, made.requester, made.action, about, ", ".join(live.approvers) or "-")
        table.add_row(*map(output.plain, cells))
    screen.print(table)
    screen.print(f"profile: {found[0].profile}")


def _explained(screen: Console, found: Explained) -> None:
    screen.print(f"{found.live.id}: {found.live.state} (profile: {found.live.profile})")
    for sentence in found.sentences or ("nothing is missing but what the gate itself checks",):
        screen.print(output.plain(f"  {sentence}"))
