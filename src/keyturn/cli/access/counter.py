"""`keyturn grant counter | accept`: offer less than somebody asked for, and take such an offer as a request of one's own.

Mounted under `grant` by its module.
"""

from __future__ import annotations

from typing import Annotated

import typer

from keyturn.cli import output
from keyturn.cli.access import asked
from keyturn.cli.names import Offered, Request, a_duration, seconds
from keyturn.cli.options import Json, Key, Lab, Yes, said_to_people

__all__ = ["accept", "counter"]


def counter(
    which: Request,
    reason: Annotated[
        str, typer.Option("--reason", help="Why not all of it. Coworkers read it.", callback=said_to_people)
    ],
    duration: Annotated[
        str | None, typer.Option(help="What you would agree to, as `30m`.", callback=a_duration)
    ] = None,
    bytes_max: Annotated[int | None, typer.Option(min=0, help="Bytes that you would agree to.")] = None,
    lab: Lab = None,
    key: Key = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Offer less than a request asks for. It ends nothing: whoever asked signs another request, or waits for somebody else."""
    from keyturn.app.access.authorize import find_pending
    from keyturn.app.access.counter_offer import offer_less
    from keyturn.formats.posix_time import duration as words
    from keyturn.wiring.access.grants import desk, wait_until_in_force

    duration_s = None if duration is None else seconds(duration)
    with desk(lab, key=key) as here:
        seen, hand = here.seen, here.hand
        pending = find_pending(seen.view, which)
        asked.show_whole(pending, json=json)
        less = [] if duration_s is None else [words(duration_s)]
        less += [] if bytes_max is None else [f"{bytes_max} bytes"]
        output.warn(f"  your offer  {', '.join(less) or '-'}: {reason}", json=json)
        output.confirm("Sign this offer?", yes=yes)
        logged = offer_less(
            pending, hand, seen.trust, seen.view, duration_s=duration_s, bytes_max=bytes_max, reason=reason
        )
        witnessed = wait_until_in_force(seen, logged)
    output.emit(
        asked.logged_as(logged, in_force=witnessed.cosigned_at),
        json=json,
        human=lambda screen: screen.print(
            f"{logged.id}: offered; {pending.made.requester} now runs `keyturn grant accept {logged.id[:12]}`, or does not"
        ),
    )


def accept(which: Offered, lab: Lab = None, key: Key = None, yes: Yes = False, json: Json = False) -> None:
    """Take an offer: sign the request for less that follows your own, after it was shown whole. Coworkers approve that one."""
    from keyturn.app.access.authorize import find_pending
    from keyturn.app.access.counter_offer import draft_counter, find_offer
    from keyturn.app.access.request_access import request_access, require_hope, shown
    from keyturn.wiring.access.grants import desk, wait_until_in_force

    with desk(lab, key=key) as here:
        seen, hand = here.seen, here.hand
        request, offer = find_offer(seen.view, which)
        pending = find_pending(seen.view, f"req-{request}")
        made = draft_counter(
            pending,
            offer,
            member=hand.member,
            keyid=hand.key.public.keyid,
            trust_version=seen.policy.trust_version,
            clock=hand.clock,
            entropy=hand.entropy,
        )
        require_hope(made, seen.policy, gates=seen.trust.gates, now=seen.now)
        output.warn(asked.table(shown(made, pending.subjects)), json=json)
        output.confirm("Sign this request?", yes=yes)
        logged = request_access(made, subjects=pending.subjects, key=hand.key, log=hand.log)
        witnessed = wait_until_in_force(seen, logged)
    output.emit(
        asked.logged_as(logged, in_force=witnessed.cosigned_at) | {"follows": pending.id},
        json=json,
        human=lambda screen: screen.print(
            f"{logged.id}: asked in place of {pending.id}; {offer.by} now runs `keyturn approve {logged.id[:12]}`\n"
            f"next: the one before waits as well, until you run keyturn grant withdraw {pending.id[:12]}"
        ),
    )
