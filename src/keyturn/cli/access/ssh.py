"""`keyturn ssh`: ask for a host, wait until coworkers agreed, and connect, with a key that exists for this request alone.

The key is in this process's memory: while it runs, other terminals, scp and rsync come in by the same grant, and with it the
key is gone. Whether one comes in is for the host's own gate.
"""

from __future__ import annotations

from typing import Annotated

import typer

from keyturn.cli import output
from keyturn.cli.access.wishes import Duration, Permit, Ticket, Urgent, WaitFor, Why, shown_and_confirmed
from keyturn.cli.completion import offer_names
from keyturn.cli.names import a_gate, seconds
from keyturn.cli.options import Json, Key, Lab, Yes

__all__ = ["ssh"]

DENIED = 255
"""ssh's own exit status when it did not get in."""


def ssh(
    host: Annotated[
        str, typer.Argument(metavar="HOST", help="As `gpu1`, or `ada@gpu1`.", autocompletion=offer_names("resources"))
    ],
    command: Annotated[list[str] | None, typer.Argument(metavar="COMMAND...", help="What to run there.")] = None,
    reason: Why = "",
    as_root: Annotated[bool, typer.Option("--as-root", help="Ask for `host:root`, not `host:shell`.")] = False,
    account: Annotated[
        str | None, typer.Option("--account", "-l", help="The account. Default: root, or your own.")
    ] = None,
    source: Annotated[list[str] | None, typer.Option("--from", help="A network to come from. Repeat.")] = None,
    only: Annotated[str | None, typer.Option("--only", help="All that the session may run.")] = None,
    sftp: Annotated[bool, typer.Option("--sftp", help="With file transfer (sftp, scp).")] = False,
    forward: Annotated[
        list[str] | None, typer.Option(help="A destination to forward to, as `db1:5432`. Repeat.")
    ] = None,
    duration: Duration = None,
    permit: Permit = None,
    gate: Annotated[
        str | None,
        typer.Option(help="The host's gate. Default: HOST.", callback=a_gate, autocompletion=offer_names("gates")),
    ] = None,
    bastion: Annotated[
        str | None,
        typer.Option(
            help="Come through this bastion, which records.", callback=a_gate, autocompletion=offer_names("gates")
        ),
    ] = None,
    watched_by: Annotated[
        str | None,
        typer.Option(help="Who watches it live, at the bastion: as `group:security`, `member:dan`."),
    ] = None,
    ticket: Ticket = "",
    urgent: Urgent = False,
    wait: WaitFor = "1h",
    address: Annotated[str | None, typer.Option(help="Where the host is, or the bastion, if not at its name.")] = None,
    port: Annotated[int | None, typer.Option("--port", "-p", min=1, max=65535, help="sshd's port.")] = None,
    ssh_option: Annotated[
        list[str] | None, typer.Option("-o", help="An option for ssh, as it takes it. Repeat.")
    ] = None,
    hold: Annotated[
        bool, typer.Option("--hold", help="Do not connect: hold the key while others come in by it.")
    ] = False,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print ssh_config for a grant that is held: `scp -F FILE`.")
    ] = False,
    lab: Lab = None,
    key: Key = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Come in to HOST by a grant: one that another terminal holds, else ask, wait for approvals, and connect."""
    from keyturn.adapters.clock import SystemClock
    from keyturn.adapters.files.held_grants import find_held
    from keyturn.adapters.hosts import ssh_client
    from keyturn.errors import Usage

    if "@" in host:
        account, _, host = host.rpartition("@")
    where = ssh_client.Where(host, address or bastion or host, port, tuple(ssh_option or ()))
    found = find_held(host, account=account, now=SystemClock().now())
    if print_config:
        if found is None:
            raise Usage(
                "grant-not-held",
                f"no `keyturn ssh {host}` holds a grant",
                hint=f"keyturn ssh --hold --reason WHY {host}",
            )
        output.emit(
            found, json=json, human=lambda screen: screen.print(output.plain(ssh_client.config_of(where, found)))
        )
        return
    if found is not None and not hold:
        raise typer.Exit(_explained(ssh_client.connect(where, found, tuple(command or ())), found.request, json=json))
    if not reason:
        raise Usage(
            "ssh-reason",
            "expected --reason: your coworkers decide by it",
            hint=f"keyturn ssh --reason WHY {host}   (what stands behind the host is the command to run)",
        )
    from keyturn.wiring.access import ssh as wired  # what follows the log is not there for whoever needs none of it
    from keyturn.wiring.access.session_grant import SessionWish
    from keyturn.wiring.typed import session_terms

    wish = SessionWish(
        resource=f"host/{host}",
        gate=gate or host,
        action="host:root" if as_root else "host:shell",
        reason=reason,
        ticket=ticket,
        duration_s=None if duration is None else seconds(duration),
        permit=permit,
        urgent=urgent,
        session=session_terms(
            account=account,
            sources=source,
            command=only,
            sftp=sftp,
            forwards=forward,
            watcher=None if bastion else watched_by,
        ),
        bastion=bastion,
        watcher=watched_by,
    )

    with wired.granted(
        lab,
        wish,
        host=host,
        key=key,
        agree=shown_and_confirmed(yes=yes, json=json),
        tell=lambda said: output.warn(said, json=json),
        within_s=seconds(wait),
    ) as grant:
        if hold:
            output.warn(f"{grant.request}: held until its window ends, or Ctrl-C", json=json)
            wired.hold_until(grant.ends_at)
            return
        status = _explained(ssh_client.connect(where, grant, tuple(command or ())), grant.request, json=json)
    raise typer.Exit(status)


def _explained(status: int, request: str, *, json: bool) -> int:
    if status == DENIED:
        output.warn(
            f"ssh ended with 255. If it says `Permission denied`: {request} is open as this machine sees the log, and the "
            "host's gate did not let it in: it may be closed, not see the log, be out of disk, have a wrong clock, or not run; "
            f"its operator sees why in what `keyturn gate host run` says. Whether the grant stands: "
            f"`keyturn grant explain {request[:12]}`",
            json=json,
        )
    return status
