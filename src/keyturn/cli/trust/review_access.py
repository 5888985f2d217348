"""`keyturn policy review`: for each permit who may ask, who could approve, and when it was used; and that a person looked at it.

Mounted under `policy` by its module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from keyturn.cli import output
from keyturn.cli.access import asked
from keyturn.cli.options import Json, Key, Lab, Yes, said_to_people

if TYPE_CHECKING:
    from rich.console import Console

    from keyturn.app.oversight.review_access import AccessOfAll
    from keyturn.grants.known import AccessReviewed
    from keyturn.wiring.access.grants import Viewed

__all__ = ["review"]


def review(
    attest: Annotated[
        bool, typer.Option("--attest", help="Sign that you reviewed it, and log that. Needs --finding.")
    ] = False,
    finding: Annotated[
        str, typer.Option("--finding", help="What you found. Auditors read it.", callback=said_to_people)
    ] = "",
    lab: Lab = None,
    key: Key = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """List who has which access, and what nobody used in 90 days; with --attest, sign that you reviewed it."""
    from keyturn.app.oversight.review_access import attest_review
    from keyturn.errors import Usage
    from keyturn.wiring.access.grants import desk, viewed, wait_until_in_force

    if attest != bool(finding):
        raise Usage(
            "review-finding", "expected --attest and --finding together", hint="--attest --finding 'as it should be'"
        )
    if not attest:
        with viewed(lab) as seen:
            found, last = _report(seen), seen.view.known.access_reviewed
        output.emit(_as_json(found, last), json=json, human=lambda screen: _show(screen, found, last))
        return
    with desk(lab, key=key) as here:
        seen, hand = here.seen, here.hand
        found, last = _report(seen), seen.view.known.access_reviewed
        if not json:
            _show(output.console(), found, last)
        output.warn(f"  your finding  {finding}", json=json)
        output.confirm("Sign that you reviewed this?", yes=yes)
        logged = attest_review(found, hand, seen.trust, seen.view, finding=finding)
        witnessed = wait_until_in_force(seen, logged)
    output.emit(
        asked.logged_as(logged, in_force=witnessed.cosigned_at) | {"report_sha256": found.sha256},
        json=json,
        human=lambda screen: screen.print(f"{logged.id}: reviewed, report sha256 {found.sha256}"),
    )


def _report(seen: Viewed) -> AccessOfAll:
    from keyturn.app.oversight.review_access import access_of_all
    from keyturn.app.oversight.show_stats import read_whole, show_stats

    at = seen.now if seen.view.checkpoint is None else seen.view.checkpoint.cosigned_at
    stats = show_stats(seen.view, read_whole(seen.view, seen.reader), seen.trust, since=0, now=at)
    return access_of_all(seen.view, seen.policy, stats)


def _as_json(found: AccessOfAll, last: AccessReviewed | None) -> dict[str, object]:
    return {"report": found, "sha256": found.sha256, "reviewed_last": last}


def _show(screen: Console, found: AccessOfAll, last: AccessReviewed | None) -> None:
    from keyturn.formats.posix_time import rfc3339

    def day(at: int) -> str:
        return "never" if at < 0 else rfc3339(at)[:10]

    screen.print(f"{found.lab}, trust version {found.trust_version}, {found.log_size} entries, {rfc3339(found.as_of)}")
    screen.print(output.plain(f"who can change all of it: {', '.join(found.publishers)}"))
    rows = [
        (
            f"{one.permit}{' (break-glass)' if one.break_glass else ''}",
            ", ".join(one.asks) or "nobody",
            f"{one.quorum}: {', '.join(one.could_approve) or 'nobody'}",
            day(one.granted_last),
            "UNUSED" if one.unused else "",
        )
        for one in found.permits
    ]
    output.rows(screen, ("permit", "may ask", "could approve", "granted last", ""), rows)
    said = "never" if last is None else f"by {last.by} at {rfc3339(last.signed_at)}"
    screen.print(output.plain(f"reviewed last: {said}; report sha256 {found.sha256}"))
