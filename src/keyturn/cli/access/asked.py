"""Show a request as its signers must see it: every field that is signed, what others said of it, the chain behind a release."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keyturn.cli import output

if TYPE_CHECKING:
    from keyturn.app.access.authorize import Pending
    from keyturn.app.access.show_grants import Explained, Linked
    from keyturn.app.custody.open_release import ReleaseDraft
    from keyturn.app.records.sign_record import Logged
    from keyturn.wiring.access.grants import Viewed

__all__ = ["chain_behind", "logged_as", "offered", "say_if_over", "show_whole", "so_far", "table"]


def show_whole(pending: Pending, *, json: bool) -> None:
    """Show every field of a request on standard error, before anything about it is signed."""
    from keyturn.app.access.request_access import shown

    output.warn(table((("request", pending.id), *shown(pending.made, pending.subjects))), json=json)


def say_if_over(seen: Viewed, pending: Pending, *, json: bool) -> None:
    """Say who ended a request that somebody is about to end: it can be ended again, and need not be."""
    from keyturn.grants import withdrawing

    for ended in withdrawing.ending(seen.view.known, pending.digest, pending.made, now=seen.now):
        verb = "denied" if ended.kind == "den" else "revoked"
        output.warn(f"  over already: {ended.by} {verb} it: {ended.reason}", json=json)
        return


def so_far(found: Explained) -> tuple[tuple[str, str], ...]:
    """What others said of the request by now, and what it still needs."""
    from keyturn.formats.posix_time import rfc3339

    said = tuple(
        ("approved by", f"{one.approver} at {rfc3339(one.signed_at)}: {one.reason or '(no reason given)'}")
        for one in found.live.approvals
    )
    return (*(said or (("approved by", "nobody yet"),)), *(("still", sentence) for sentence in found.sentences))


def offered(links: Linked) -> tuple[tuple[str, str], ...]:
    """What people offered in place of a request, and which requests follow it."""
    from keyturn.formats.posix_time import duration

    rows = []
    for offer in links.offers:
        less = [] if offer.duration_s is None else [duration(offer.duration_s)]
        less += [] if offer.bytes_max is None else [f"{offer.bytes_max} bytes"]
        rows.append(("offered", f"{', '.join(less)} by {offer.by}: {offer.reason} (ofr-{offer.digest[:32]})"))
    if links.follows_ended is not None:
        rows.append(("follows", f"{links.follows}, and {links.follows_ended}"))
    return (*rows, *(("followed by", one) for one in links.followed_by))


def chain_behind(seen: Viewed, pending: Pending) -> ReleaseDraft | None:
    """For a release: its chain, computed again from the log, and held against the digest that the request names; else None."""
    from keyturn.app.custody.open_release import review_release
    from keyturn.bulk.threads import on_all_cores
    from keyturn.formats.uri import Uri
    from keyturn.wiring.custody.evidence import evidence_verify

    if pending.made.action != "model:release":
        return None
    return review_release(
        seen.reader,
        pending.subjects,
        root_json=seen.view.pinned.root.raw,
        pinned_sha256=seen.view.pinned.root_sha256,
        resource=Uri.parse(pending.made.resource),
        now=seen.now,
        verify=evidence_verify,
        each=on_all_cores,
    )


def table(rows: tuple[tuple[str, str], ...]) -> str:
    """Lay out fields, one in a row."""
    # A newline in what somebody wrote begins no row of its own: it could look like another field of the request.
    width = max(len(name) for name, _ in rows)
    margin = f"\n  {'':<{width}}  | "
    return "\n".join(f"  {name:<{width}}  {value.replace(chr(10), margin)}" for name, value in rows)


def logged_as(logged: Logged, *, in_force: int | None) -> dict[str, Any]:
    """What a command says of the record that it logged, as JSON."""
    return {"id": logged.id, "digest": logged.digest, "index": logged.index, "witnessed_at": in_force}
