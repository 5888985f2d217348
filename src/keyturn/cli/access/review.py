"""`keyturn grant unreviewed | review`: what was opened by break-glass and awaits a review, and a second person's review of it.

Mounted under `grant` by its module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from keyturn.cli import output
from keyturn.cli.access import asked
from keyturn.cli.names import BreakGlassUse
from keyturn.cli.options import Json, Key, Lab, Yes, said_to_people

if TYPE_CHECKING:
    from rich.console import Console

    from keyturn.app.access.review_use import AwaitsReview

__all__ = ["review", "unreviewed"]


def unreviewed(lab: Lab = None, json: Json = False) -> None:
    """List the uses by break-glass that await a review: each locks further break-glass of its people and its resource."""
    from keyturn.app.access import review_use
    from keyturn.wiring.access.grants import viewed

    with viewed(lab) as seen:
        found = review_use.unreviewed(seen.view)
    output.emit(found, json=json, human=lambda screen: _listed(screen, found))


def review(
    which: BreakGlassUse,
    finding: Annotated[
        str,
        typer.Option("--finding", help="What you found. Coworkers and auditors read it.", callback=said_to_people),
    ],
    lab: Lab = None,
    key: Key = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Review a use by break-glass, after all that the log says of it was shown: as somebody who took no part in it."""
    from keyturn.app.access.request_access import shown
    from keyturn.app.access.review_use import find_unreviewed, request_behind, review_use
    from keyturn.app.oversight.show_stats import read_whole
    from keyturn.formats.posix_time import rfc3339
    from keyturn.wiring.access.grants import desk, wait_until_in_force

    with desk(lab, key=key) as here:
        seen, hand = here.seen, here.hand
        found = find_unreviewed(seen.view, which)
        made = request_behind(read_whole(seen.view, seen.reader), found.use)
        rows = (
            ("use", found.id),
            ("at gate", found.use.gate),
            ("at", rfc3339(found.use.used_at)),
            ("resource", found.use.resource),
            ("by", ", ".join(sorted(found.use.members))),
            ("approved by", ", ".join(sorted(found.use.approvers))),
            *((("request", "the log does not have it: ask them why"),) if made is None else shown(made, ())),
            ("your finding", finding),
        )
        output.warn(asked.table(rows), json=json)
        output.confirm("Sign this review?", yes=yes)
        logged = review_use(found, hand, seen.trust, seen.view, finding=finding)
        witnessed = wait_until_in_force(seen, logged)
    output.emit(
        asked.logged_as(logged, in_force=witnessed.cosigned_at),
        json=json,
        human=lambda screen: screen.print(f"{logged.id}: {found.id} is reviewed, and locks nothing any more"),
    )


def _listed(screen: Console, found: tuple[AwaitsReview, ...]) -> None:
    if not found:
        screen.print("no use by break-glass awaits a review")
    for one in found:
        screen.print(output.plain(f"{one.text}; could review: {', '.join(one.could_review) or 'nobody'}"))
