"""`keyturn request`: ask for access to a resource, for a stated reason. The request is shown whole before it is signed."""

from __future__ import annotations

from typing import Annotated

import typer

from keyturn.cli import asked, output
from keyturn.cli.completion import offer_names, offer_records
from keyturn.cli.names import a_duration, a_gate, a_record, a_resource, seconds
from keyturn.cli.options import Json, Key, Lab, Yes, said_to_people

__all__ = ["request"]


def request(
    action: Annotated[str, typer.Argument(help="As `weights:read`, `host:shell`.")],
    resource: Annotated[
        str,
        typer.Argument(
            help="As `model/aurora`, or the whole URI.", callback=a_resource, autocompletion=offer_names("resources")
        ),
    ],
    reason: Annotated[str, typer.Option("--reason", help="Why: your coworkers decide by it.", callback=said_to_people)],
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
    duration: Annotated[
        str | None, typer.Option(help="As `30m`, `2h`. Default: the permit's longest.", callback=a_duration)
    ] = None,
    beneficiary: Annotated[
        str | None, typer.Option(help="Who gets the access. Default: you.", autocompletion=offer_names("members"))
    ] = None,
    ticket: Annotated[str, typer.Option(help="A ticket's number.", callback=said_to_people)] = "",
    session_key: Annotated[
        str | None, typer.Option(help="The key that the session will prove: base64 of its SubjectPublicKeyInfo.")
    ] = None,
    bytes_max: Annotated[int | None, typer.Option(min=0, help="Bytes that you need at most.")] = None,
    renews: Annotated[
        str | None,
        typer.Option(
            help="The live request that this one renews or counters.",
            callback=a_record("req"),
            autocompletion=offer_records("req"),
        ),
    ] = None,
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
        output.warn(asked.table(shown(made, subjects)), json=json)
        output.confirm("Sign this request?", yes=yes)
        logged = request_access(made, subjects=subjects, key=hand.key, log=hand.log)
        witnessed = wait_until_in_force(seen, logged)
    output.emit(
        asked.logged_as(logged, in_force=witnessed.cosigned_at),
        json=json,
        human=lambda screen: screen.print(
            f"{logged.id}: asked; a coworker now runs `keyturn approve {logged.id[:12]}`"
        ),
    )
