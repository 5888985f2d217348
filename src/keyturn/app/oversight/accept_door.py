"""Accept a door that stands open, as one of two: what is signed, and whether it may be; and take in what others signed elsewhere.

What a member signs is what the ledger says of the door, in each word: the machine that scans can lie to him, and then what he
signed is not of what opens there. Nothing goes to the log (docs/decisions/0112).
"""

from __future__ import annotations

from dataclasses import dataclass

from keyturn.app.records.sign_record import about
from keyturn.crypto import dsse_signing
from keyturn.crypto.dsse_signing import RecordSigner
from keyturn.errors import KeyturnError, Refused, Usage
from keyturn.formats import dsse, statement
from keyturn.formats.posix_time import duration, rfc3339
from keyturn.formats.standing_acceptance import STANDING_ACCEPTANCE, StandingAcceptance
from keyturn.grants.freshness import require_recent
from keyturn.grants.view import GateView
from keyturn.ports import Clock, Entropy
from keyturn.standing import ledger as ledgers
from keyturn.standing.accepted import Judge, require_end, require_signer
from keyturn.standing.ledger import Ledger, Standing

__all__ = ["Taken", "draft_acceptance", "shown", "sign_acceptance", "take_acceptances"]


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one acceptance in another ledger: `code` and `why` say why it was left there, if it was."""

    finding: str
    by: str
    code: str = ""
    why: str = ""


def draft_acceptance(
    place: str,
    standing: Standing,
    view: GateView,
    judge: Judge,
    *,
    member: str,
    keyid: str,
    until: int | None,
    reason: str,
    clock: Clock,
    entropy: Entropy,
) -> StandingAcceptance:
    """What `member` would sign about the door `standing`; who says neither `until` nor `reason` agrees to what another signed.

    Raises `Usage` for what cannot be, and `Refused` for who cannot, before any key is used.
    """
    now = clock.now()
    trust = require_recent(view, now=now)
    require_signer(member, keyid, view, trust, now=now)
    if until is None and not reason:
        until, reason = _agreed(judge, place, standing, member)
    if until is None or not reason:
        raise Usage(
            "acceptance-incomplete", "expected --until and --reason together", hint="--until 2026-12-31 --reason '...'"
        )
    try:
        require_end(until, signed_at=now)
    except Refused as err:
        raise Usage(err.code, err.message, hint=err.hint) from err
    finding = standing.finding
    return StandingAcceptance(
        lab=trust.lab,
        nonce=entropy.nonce(),
        member=member,
        key=keyid,
        place=place,
        finding=finding.digest(place),
        first_seen=standing.first_seen,
        code=finding.code,
        where=finding.where,
        opens=finding.opens,
        to=finding.to,
        severity=finding.severity,
        reason=reason,
        signed_at=now,
        until=until,
    )


def _agreed(judge: Judge, place: str, standing: Standing, member: str) -> tuple[int | None, str]:
    judged = judge(place, standing)
    if set(judged.by) == {member}:
        raise Refused(
            "acceptance-needs-two",
            f"`{member}` accepted it already, and one person's word leaves it open",
            hint="ask a coworker to accept the same: keyturn scan accept",
        )
    return (judged.until, judged.reason) if judged.by else (None, "")


def sign_acceptance(made: StandingAcceptance, key: RecordSigner) -> bytes:
    """The envelope of `made`, which was shown whole, signed by `key`."""
    payload = statement.make(made, STANDING_ACCEPTANCE, about(made.finding, name=made.place))
    return dsse.render(dsse_signing.sign(payload, key))


def shown(made: StandingAcceptance) -> tuple[tuple[str, str], ...]:
    """Every field that is signed, in words."""
    return (
        ("ACCEPT", "it stays open, and raises no alarm when another human signs the same"),
        ("finding", f"fnd-{made.finding}"),
        ("code", f"{made.code}, severity {made.severity}"),
        ("at", f"{made.place} {made.where}"),
        ("opens", made.opens),
        ("to", made.to),
        ("open since", rfc3339(made.first_seen)),
        ("until", f"{rfc3339(made.until)} ({duration(made.until - made.signed_at)})"),
        ("why", made.reason),
        ("signed by", f"{made.member}, key {made.key}"),
        ("signed at", rfc3339(made.signed_at)),
        ("lab", made.lab),
        ("nonce", made.nonce),
    )


def take_acceptances(ledger: Ledger, other: Ledger, judge: Judge) -> tuple[Ledger, tuple[Taken, ...]]:
    """`ledger` with the acceptances in `other` that count for what it has itself: nothing else is taken over from there.

    A member's newer one stays.
    """
    taken = []
    for place in other.places:
        for one in place.standing:
            id_ = one.finding.id(place.name)
            for kept in one.acceptances:
                by = ""
                try:
                    _, _, mine = ledgers.named(ledger, id_)
                    made = judge.verified(kept.encode(), place.name, mine).made
                    by = made.member
                    if _has_newer(judge, place.name, mine, made):
                        continue
                    ledger = ledgers.keep(ledger, id_, kept.encode())
                    taken.append(Taken(id_, by))
                except KeyturnError as err:
                    taken.append(Taken(id_, by, err.code, err.message))
    return ledger, tuple(taken)


def _has_newer(judge: Judge, place: str, mine: Standing, made: StandingAcceptance) -> bool:
    signed = judge(place, mine).signed
    return any(one.member == made.member and not one.code and one.signed_at >= made.signed_at for one in signed)
