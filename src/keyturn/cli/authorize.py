"""`keyturn approve | deny`: agree to a request, or end it, as one human, after all of it was shown: what is asked, what others
said, and for a release the chain with what its evaluations measured."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from keyturn.cli import asked, output
from keyturn.cli.asked import Which
from keyturn.cli.options import Json, Key, Lab, Yes, said_to_people

__all__ = ["approve", "deny"]

Because = Annotated[str, typer.Option("--reason", help="Why. Coworkers and auditors read it.", callback=said_to_people)]


def approve(
    which: Which, reason: Because = "", lab: Lab = None, key: Key = None, yes: Yes = False, json: Json = False
) -> None:
    """Approve a request, after it was shown whole. Only humans can, and nobody for himself."""
    _authorize("approve", which, reason, lab, key=key, yes=yes, json=json)


def deny(which: Which, reason: Because, lab: Lab = None, key: Key = None, yes: Yes = False, json: Json = False) -> None:
    """Deny a request: one human's denial ends it, as soon as it is witnessed."""
    _authorize("deny", which, reason, lab, key=key, yes=yes, json=json)


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
    from keyturn.app.show_grants import explain_grant
    from keyturn.cli.chains import release_lines
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
        asked.show_whole(pending, json=json)
        output.warn(
            asked.table(asked.so_far(explain_grant(seen.view, seen.trust, pending.digest, now=seen.now))), json=json
        )
        if (release := asked.chain_behind(seen, pending)) is not None:
            output.warn("\n".join(release_lines(release)), json=json)
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
        asked.logged_as(logged, in_force=witnessed.cosigned_at),
        json=json,
        human=lambda screen: screen.print(f"{logged.id}: {verb} {pending.id}, in force{profile}"),
    )
