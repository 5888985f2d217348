"""`keyturn scan`: every door of a host, database or repository that opens without a grant, with the command that closes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keyturn.cli import output
from keyturn.cli.options import Json, Key, Lab, Root, Yes, said_to_people

if TYPE_CHECKING:
    from rich.console import Console

    from keyturn.app.oversight.standing_access import Acceptance, Door
    from keyturn.standing.finding import Scan
    from keyturn.wiring.gates.scan import Scanned

__all__ = ["app"]

app = typer.Typer(
    help="Standing access: every door that opens without a grant. Exits with 1 while one does, 3 if something was not looked at.",
    no_args_is_help=True,
)

Ledger = Annotated[
    Path | None,
    typer.Option(
        help="The file that remembers findings. Default: standing.json in your KEYTURN_HOME.", show_default=False
    ),
]
Notify = Annotated[
    Path | None,
    typer.Option(
        help="A file of mode 0600 with an apprise URL, where new findings are told.", show_default=False, readable=False
    ),
]
Owner = Annotated[str | None, typer.Option(help="Who is to close what is new. Default: you, if you have a home here.")]
Finding = Annotated[
    str, typer.Argument(help="A finding's id, or how it begins: 8 digits are enough.", metavar="FINDING")
]


@app.command()
def host(
    root: Annotated[
        Path,
        typer.Option(
            help="The root of the host: an image that is mounted or unpacked, and does not run.", readable=False
        ),
    ] = Path("/"),
    name: Annotated[str | None, typer.Option(help="The host's name in the ledger. Default: its own.")] = None,
    ledger: Ledger = None,
    owner: Owner = None,
    notify: Notify = None,
    lab: Lab = None,
    root_sha256: Root = None,
    json: Json = False,
) -> None:
    """Find what lets somebody into a host: keys, passwords, sudo, setuid programs, cron, units, trusted hosts, open shells."""
    from keyturn.wiring.gates.scan import scan_a_host

    def look() -> tuple[str, Scan]:
        return scan_a_host(root, name)

    _scan(look, ledger=ledger, owner=owner, notify=notify, lab=lab, root=root_sha256, json=json)


@app.command()
def postgres(
    url: Annotated[
        str, typer.Argument(help="As postgresql://role@host/database; any of its databases.", metavar="URL")
    ],
    name: Annotated[str | None, typer.Option(help="The server's name in the ledger. Default: host and port.")] = None,
    gate_user: Annotated[
        str, typer.Option(help="Who runs a postgres gate there: what that demands of the server is no door.")
    ] = "keyturn-gate-postgres",
    ledger: Ledger = None,
    owner: Owner = None,
    notify: Notify = None,
    lab: Lab = None,
    root_sha256: Root = None,
    json: Json = False,
) -> None:
    """Find what lets somebody into a PostgreSQL server: superusers, passwords, pg_hba.conf, owners, functions, defaults."""
    from keyturn.wiring.gates.scan import scan_a_server

    def look() -> tuple[str, Scan]:
        return scan_a_server(url, name, gate_user=gate_user)

    _scan(look, ledger=ledger, owner=owner, notify=notify, lab=lab, root=root_sha256, json=json)


@app.command()
def git(
    repository: Annotated[
        str,
        typer.Argument(
            help="The directory of a repository; with --forge its name, as acme/model.", metavar="REPOSITORY"
        ),
    ],
    forge: Annotated[str | None, typer.Option(help="Ask the API of a forge: `github` or `gitlab`.")] = None,
    api: Annotated[
        str | None, typer.Option(help="Where its API is. Default: that of github.com or gitlab.com.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="A file of mode 0600 with a token that may read the repository's settings.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Its name in the ledger. Default: its path, or that on the forge.")
    ] = None,
    ledger: Ledger = None,
    owner: Owner = None,
    notify: Notify = None,
    lab: Lab = None,
    root_sha256: Root = None,
    json: Json = False,
) -> None:
    """Find what a git repository lets somebody push, rewrite or read: unprotected branches, deploy keys, who bypasses."""
    from keyturn.wiring.gates.scan import scan_a_forge, scan_a_repository

    def look() -> tuple[str, Scan]:
        if forge is None:
            return scan_a_repository(Path(repository), name)
        return scan_a_forge(forge, repository, api=api, token_file=token_file, name=name)

    _scan(look, ledger=ledger, owner=owner, notify=notify, lab=lab, root=root_sha256, json=json)


@app.command()
def show(
    since: Annotated[
        str | None,
        typer.Option(help="Only what was first seen since then: `2026-11-30`, `2026-11-30T12:00:00Z`, or `7d` ago."),
    ] = None,
    place: Annotated[str | None, typer.Option(help="Only this place, as `host:gpu1`.")] = None,
    ledger: Ledger = None,
    lab: Lab = None,
    root_sha256: Root = None,
    json: Json = False,
) -> None:
    """Show what the newest scans found, who accepted what of it until when, and which acceptances do not count. Scans nothing."""
    from keyturn.adapters.clock import SystemClock
    from keyturn.app.oversight.standing_access import doors
    from keyturn.errors import Unavailable
    from keyturn.wiring.gates.scan import read_ledger, scan_judge
    from keyturn.wiring.typed import instant

    now = SystemClock().now()
    begin = 0 if since is None else instant("`--since`", since, now=now, ago=True)
    judge = scan_judge(lab, root_sha256)
    places = [one for one in read_ledger(ledger).places if place in (None, one.name)]
    if not places:  # of what nobody looked at nothing is known, and 0 would say that no door is open
        raise Unavailable(
            "scan-never",
            f"expected a scan{'' if place is None else f' of `{place}`'} in the ledger, found none",
            hint="keyturn scan host, postgres or git; or --ledger FILE",
        )
    found = doors(places, judge, since=begin)
    output.emit({"doors": found}, json=json, human=lambda screen: _show(screen, found))
    _exit(found)


@app.command()
def accept(
    finding: Finding,
    until: Annotated[
        str | None, typer.Option(help="When it ends, at most 90 days from now: `2026-12-31`, or `30d` from now.")
    ] = None,
    reason: Annotated[
        str, typer.Option(help="Why it stands open. Coworkers and auditors read it.", callback=said_to_people)
    ] = "",
    ledger: Ledger = None,
    lab: Lab = None,
    key: Key = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Sign that a finding may stand open for a time, after all of it was shown. It takes two humans; the second types the id."""
    from keyturn.adapters.clock import SystemClock
    from keyturn.cli.access.asked import table
    from keyturn.wiring.gates.accept_door import accept_finding
    from keyturn.wiring.typed import instant

    end = None if until is None else instant("`--until`", until, now=SystemClock().now(), ago=False)

    def agree(rows: tuple[tuple[str, str], ...]) -> None:
        output.warn(table(rows), json=json)
        output.confirm("Sign that this may stand open?", yes=yes)

    door = accept_finding(finding, until=end, reason=reason, ledger=ledger, lab=lab, key=key, agree=agree)
    said = f"accepted until {door.accepted_until} by {', '.join(door.accepted_by)}"
    if door.state != "accepted":
        said = f"OPEN until another human accepts the same: keyturn scan accept {door.id[:12]}"
    output.emit(door, json=json, human=lambda screen: screen.print(f"{door.id}: {said}"))


@app.command()
def take(
    source: Annotated[
        Path, typer.Argument(help="A copy of this ledger, in which coworkers accepted findings.", metavar="LEDGER")
    ],
    ledger: Ledger = None,
    lab: Lab = None,
    root_sha256: Root = None,
    json: Json = False,
) -> None:
    """Take the acceptances that coworkers signed in a copy of the ledger, on their own machines. Each is verified."""
    from keyturn.wiring.gates.accept_door import take_from
    from keyturn.wiring.gates.scan import scan_judge

    found = take_from(source, scan_judge(lab, root_sha256), ledger=ledger)

    def human(screen: Console) -> None:
        for one in found:
            said = f"left there: {one.why} [{one.code}]" if one.code else f"taken, signed by {one.by}"
            screen.print(output.plain(f"{one.finding[:12]}: {said}"))
        if not found:
            screen.print("nothing is there that is not here")

    output.emit({"acceptances": found}, json=json, human=human)
    if any(one.code for one in found):
        raise typer.Exit(1)


@app.command()
def assign(
    finding: Finding,
    owner: Annotated[str, typer.Argument(help="Who is to close it.", callback=said_to_people, metavar="OWNER")],
    ledger: Ledger = None,
    json: Json = False,
) -> None:
    """Say who is to close a finding."""
    from keyturn.wiring.gates.scan import assign_finding

    id_ = assign_finding(finding, owner=owner, ledger=ledger)
    output.emit(
        {"id": id_, "owner": owner},
        json=json,
        human=lambda screen: screen.print(output.plain(f"{id_}: {owner} is to close it")),
    )


def _scan(
    look: Callable[[], tuple[str, Scan]],
    *,
    ledger: Path | None,
    owner: str | None,
    notify: Path | None,
    lab: str | None,
    root: str | None,
    json: bool,
) -> None:
    from keyturn.wiring.gates.scan import receiver_in, record_scan, scan_judge

    receiver = receiver_in(notify)  # what is wrong with it is said before the scan, which takes a while
    judge = scan_judge(lab, root)
    place, found = look()
    scanned = record_scan(place, found, judge, ledger=ledger, owner=owner, receiver=receiver)
    output.emit(scanned, json=json, human=lambda screen: _scanned(screen, scanned))
    _exit(scanned.doors)


def _exit(found: tuple[Door, ...]) -> None:
    from keyturn.app.oversight.standing_access import verdict

    status = {"closed": 0, "open": 1, "unknown": 3}[verdict(found)]
    if status:
        raise typer.Exit(status)


def _scanned(screen: Console, scanned: Scanned) -> None:
    _show(screen, scanned.doors, new=frozenset(scanned.new))
    for door in scanned.closed:
        screen.print(output.plain(f"closed since the last scan: {door.code} at {door.where}"))
    left = [one for one in scanned.doors if one.state != "accepted"]
    screen.print(
        output.plain(
            f"{scanned.place}: {len(left)} open, {len(scanned.doors) - len(left)} accepted, {len(scanned.new)} new"
        )
    )


def _show(screen: Console, found: tuple[Door, ...], *, new: frozenset[str] = frozenset()) -> None:
    for one in found:
        screen.print(output.plain(f"{one.severity:7} {one.id[:12]} {one.code}{'  NEW' if one.id in new else ''}"))
        state: str = one.state
        if one.accepted_by:
            state = f"{one.state} by {', '.join(one.accepted_by)} until {one.accepted_until}: {one.reason}"
        lines = {
            "at": f"{one.place} {one.where}",
            "opens": one.opens,
            "to": one.to,
            "since": f"{one.first_seen}, owner {one.owner or 'nobody'}, {state}",
            "close": one.close or "by hand",
        }
        for title, text in lines.items():
            screen.print(output.plain(f"        {title:6} {text}"))
        for said in one.acceptances:
            screen.print(output.plain(f"        signed {_signed(said)}"))
            if said.hint:
                screen.print(output.plain(f"               try: {said.hint}"))


def _signed(said: Acceptance) -> str:
    by = f"by {said.by}, key {said.key[:16]}, at {said.signed_at}, until {said.until}" if said.by else "by nobody"
    return f"{by}: COUNTS FOR NOTHING, {said.why} [{said.code}]" if said.code else by
