"""`keyturn request`: ask for access to a resource, for a stated reason. The request is shown whole before it is signed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keyturn.cli import output
from keyturn.cli.access import asked
from keyturn.cli.access.wishes import Duration, Ticket, Urgent, Why, shown_and_confirmed
from keyturn.cli.completion import offer_names, offer_records
from keyturn.cli.names import Resource, a_duration, a_gate, a_record, seconds
from keyturn.cli.options import Json, Key, Lab, Yes

if TYPE_CHECKING:
    from keyturn.formats.access import AccessRequest

__all__ = ["request"]


def request(
    action: Annotated[str, typer.Argument(metavar="ACTION", help="As `weights:read`, `host:shell`.")],
    resource: Resource,
    reason: Why,
    gate: Annotated[
        str,
        typer.Option(
            help="The gate that will let you in, as `gpu1`, or the whole URI.",
            callback=a_gate,
            autocompletion=offer_names("gates"),
        ),
    ],
    permit: Annotated[
        str | None,
        typer.Option(
            help="The permit to ask by. Default: the only one that fits.", autocompletion=offer_names("permits")
        ),
    ] = None,
    duration: Duration = None,
    beneficiary: Annotated[
        str | None, typer.Option(help="Who gets the access. Default: you.", autocompletion=offer_names("members"))
    ] = None,
    ticket: Ticket = "",
    session_key: Annotated[
        str | None, typer.Option(help="The key that the session will prove: base64 of its SubjectPublicKeyInfo.")
    ] = None,
    bytes_max: Annotated[int | None, typer.Option(min=0, help="Bytes that you need at most.")] = None,
    urgent: Urgent = False,
    renews: Annotated[
        str | None,
        typer.Option(
            help="The live request that this one renews. What coworkers denied or revoked is not renewed.",
            callback=a_record("req"),
            autocompletion=offer_records("req"),
        ),
    ] = None,
    break_glass: Annotated[
        bool, typer.Option("--break-glass", help="An emergency: within the hour, one resource, reviewed afterwards.")
    ] = False,
    account: Annotated[str | None, typer.Option(help="On a host: the account. Default: root, or your own.")] = None,
    source: Annotated[
        list[str] | None, typer.Option("--from", help="On a host: a network to come from, as `10.1.0.0/16`. Repeat.")
    ] = None,
    command: Annotated[str | None, typer.Option(help="On a host: all that the session runs.")] = None,
    sftp: Annotated[bool, typer.Option("--sftp", help="On a host: with file transfer (sftp, scp).")] = False,
    forward: Annotated[
        list[str] | None, typer.Option(help="On a host: a destination to forward to, as `db1:5432`. Repeat.")
    ] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="In a database: no more than reading.")] = False,
    table: Annotated[list[str] | None, typer.Option(help="In a database: this table alone. Repeat.")] = None,
    statement_timeout: Annotated[
        str | None, typer.Option(help="In a database: how long a statement runs, as `30s`.", callback=a_duration)
    ] = None,
    connections: Annotated[
        int | None, typer.Option(min=1, max=100, help="In a database: how many at the same time.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="With --break-glass, when the log cannot be reached: the file that a gate takes."),
    ] = None,
    lab: Lab = None,
    key: Key = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Ask for access to a resource. Coworkers approve; the gate verifies all of it."""
    from keyturn.adapters.files.config_files import require_new, write_new
    from keyturn.app.access.authorize import find_pending
    from keyturn.app.access.break_glass_file import start_bundle
    from keyturn.app.access.request_access import (
        Wish,
        draft_request,
        of_resource,
        request_access,
        require_hope,
        require_renewable,
        shown,
    )
    from keyturn.crypto.keys import PublicKey
    from keyturn.errors import Usage
    from keyturn.grants import bundle as bundles
    from keyturn.wiring.access.grants import Pen, desk, pen, wait_until_in_force
    from keyturn.wiring.typed import database_terms, session_terms, typed, uri

    if action == "model:release":
        raise Usage(
            "request-of-release",
            "expected another action: who asks for a release signs the model and its whole chain",
            hint=f"keyturn release MODEL --as {resource} --reason WHY",
        )
    if session_key is not None:
        typed("`--session-key`", PublicKey.from_text, session_key)
    session = session_terms(account=account, sources=source, command=command, sftp=sftp, forwards=forward)
    database = database_terms(
        read_only=read_only,
        tables=table,
        statement_s=None if statement_timeout is None else seconds(statement_timeout),
        connections=connections,
    )
    if out is not None:
        if not break_glass:
            raise Usage(
                "out-without-break-glass",
                "expected --out with --break-glass: nothing else opens without the log",
                hint="leave --out away, or say --break-glass",
            )
        require_new(out)

    agree = shown_and_confirmed(yes=yes, json=json)

    def asked_for(own: Pen) -> AccessRequest:
        seen = own.seen
        renewed = None if renews is None else find_pending(seen.view, renews)
        if renewed is not None:
            require_renewable(seen.view, renewed.digest, renewed.made, now=seen.now)
        wish = Wish(
            requester=own.member,
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
            follows=None if renewed is None else renewed.digest,
            break_glass=break_glass,
            urgent=urgent,
            session=session,
            database=database,
        )
        made = draft_request(wish, seen.policy, keyid=own.key.public.keyid, clock=own.clock, entropy=own.entropy)
        require_hope(made, seen.policy, gates=seen.trust.gates, now=seen.now)
        agree(shown(made, of_resource(made)))
        return made

    if out is not None:
        with pen(lab, approving=False, key=key, payload=None) as own:
            made = asked_for(own)
            bundle = start_bundle(made, subjects=of_resource(made), key=own.key)
        write_new(out, bundles.render(bundle))
        output.emit(
            {"bundle": str(out)},
            json=json,
            human=lambda screen: screen.print(f"{out}: asked; a coworker now runs `keyturn grant sign-bundle` on it"),
        )
        return
    with desk(lab, key=key) as here:
        seen, hand = here.seen, here.hand
        made = asked_for(Pen(seen, hand.member, hand.key, hand.clock, hand.entropy))
        subjects = of_resource(made)
        logged = request_access(made, subjects=subjects, key=hand.key, log=hand.log)
        witnessed = wait_until_in_force(seen, logged)
    output.emit(
        asked.logged_as(logged, in_force=witnessed.cosigned_at),
        json=json,
        human=lambda screen: screen.print(
            f"{logged.id}: asked; a coworker now runs `keyturn approve {logged.id[:12]}`"
        ),
    )
