"""Join accepting a door to this machine: the member's key and lab, and the ledger that keeps what was signed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from keyturn.adapters.files.config_files import read_small
from keyturn.app.oversight.accept_door import Taken, draft_acceptance, shown, sign_acceptance, take_acceptances
from keyturn.app.oversight.standing_access import Door, doors
from keyturn.errors import Conflict
from keyturn.standing import ledger as ledgers
from keyturn.standing.accepted import Judge
from keyturn.wiring.access.grants import pen
from keyturn.wiring.gates.scan import ledger_file

__all__ = ["accept_finding", "take_from"]


def accept_finding(
    typed: str,
    *,
    until: int | None,
    reason: str,
    ledger: Path | None,
    lab: str | None,
    key: str | None,
    agree: Callable[[tuple[tuple[str, str], ...]], None],
) -> Door:
    """Accept a finding as whoever runs this, once `agree` has shown every field and returned: one of the two who are needed."""
    file = ledger_file(ledger)
    place, id_, standing = ledgers.named(file.read(), typed)
    with pen(lab, approving=True, key=key, payload=None) as own:
        view = own.seen.view
        judge = Judge(lambda: view, now=own.seen.now)
        made = draft_acceptance(
            place.name,
            standing,
            view,
            judge,
            member=own.member,
            keyid=own.key.public.keyid,
            until=until,
            reason=reason,
            clock=own.clock,
            entropy=own.entropy,
        )
        agree(shown(made))
        raw = sign_acceptance(made, own.key)
    judge = Judge(lambda: view, now=made.signed_at)
    with file.alone():
        before = file.read()
        at, _, now_there = ledgers.named(before, id_)
        if now_there.first_seen != made.first_seen or now_there.finding != standing.finding:
            raise Conflict(
                "finding-changed",
                f"`{id_}` is another door by now than the one that was shown",
                hint="look at it again: keyturn scan show",
            )
        judge.verified(raw, at.name, now_there)
        after = ledgers.keep(before, id_, raw)
        file.keep(after)
    at, _, _ = ledgers.named(after, id_)
    return next(door for door in doors([at], judge) if door.id == id_)


def take_from(source: Path, judge: Judge, *, ledger: Path | None) -> tuple[Taken, ...]:
    """Take the acceptances in the ledger `source`, that coworkers signed elsewhere, into this machine's."""
    other = ledgers.parse(read_small(source, size_bytes_max=ledgers.SIZE_BYTES_MAX))
    file = ledger_file(ledger)
    with file.alone():
        after, taken = take_acceptances(file.read(), other, judge)
        file.keep(after)
    return taken
