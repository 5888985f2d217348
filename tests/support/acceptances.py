"""Acceptances of doors, signed by test keys: of whatever a ledger says, or of something else."""

from __future__ import annotations

from keyturn.app.oversight.accept_door import sign_acceptance
from keyturn.crypto.dsse_signing import RecordSigner
from keyturn.formats.standing_acceptance import StandingAcceptance
from keyturn.standing.ledger import Standing
from support.labs import NOW, make_key

__all__ = ["acceptance", "accepting"]


def accepting(
    place: str, standing: Standing, /, *, member: str = "ada", key: RecordSigner, **changed: object
) -> StandingAcceptance:
    """What `member` would sign about the door `standing` at `place`, with what is given `changed`."""
    finding = standing.finding
    values: dict[str, object] = {
        "lab": "acme.example",
        "nonce": "ab" * 16,
        "member": member,
        "key": key.public.keyid,
        "place": place,
        "finding": finding.digest(place),
        "first_seen": standing.first_seen,
        "code": finding.code,
        "where": finding.where,
        "opens": finding.opens,
        "to": finding.to,
        "severity": finding.severity,
        "reason": "until the move",
        "signed_at": NOW,
        "until": NOW + 86_400,
        **changed,
    }
    return StandingAcceptance(**values)  # type: ignore[arg-type]  # the table above, field by field


def acceptance(
    place: str,
    standing: Standing,
    /,
    *,
    member: str = "ada",
    key: RecordSigner | None = None,
    by: RecordSigner | None = None,
    **changed: object,
) -> bytes:
    """The same, signed by `key`, which it names; or by the key `by`, which it does not."""
    key = key or make_key(member)
    return sign_acceptance(accepting(place, standing, member=member, key=key, **changed), by or key)
