"""Approve or deny a request that was shown whole, as one human.

An approval that would not count is refused before it is signed, by the same rule that gates apply. A denial ends the request as
soon as it is witnessed, and it stands for as long as the request could.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from keyturn.app.records.find_record import only_one, record_prefix
from keyturn.app.records.sign_record import Logged, about, sign_and_log
from keyturn.crypto.dsse_signing import RecordSigner
from keyturn.errors import Refused, Unavailable
from keyturn.formats import records
from keyturn.formats.access import AccessRequest, HumanAuthorization
from keyturn.formats.digest import Sha256
from keyturn.formats.statement import Subject
from keyturn.grants import withdrawing
from keyturn.grants.approvers import require_countable_key
from keyturn.grants.view import GateView
from keyturn.policy import persons
from keyturn.ports import Clock, Entropy, LogWriter
from keyturn.trust.roster import TrustState

__all__ = ["Pending", "authorization", "authorize", "find_pending", "require_can_authorize"]


@dataclass(frozen=True, slots=True)
class Pending:
    """A live request, read from the witnessed log, with what it is about."""

    digest: Sha256
    made: AccessRequest
    subjects: tuple[Subject, ...]

    @property
    def id(self) -> str:
        return records.record_id("req", self.digest)


def find_pending(view: GateView, text: str) -> Pending:
    """The live request that `text` (`req-` and 8 to 64 digits) names.

    Raises `Usage` `record-id` for another form and `record-ambiguous`, `Refused` `request-unknown`.
    """
    _, prefix = record_prefix(text, ("req",))
    found = [d for d in view.known.requests if d.startswith(prefix)]
    if not found:
        raise Refused(
            "request-unknown",
            f"no live request of the witnessed log is `{text[:80]}`: it may be over, or not witnessed yet",
            hint="`keyturn grant list` lists the live ones; what became of one that is over: `keyturn log show REQUEST`",
        )
    raw = view.known.requests[only_one(text, found)].raw
    if raw is None:
        raise Unavailable(
            "request-unread",
            f"`{text[:80]}` is in the log, and its text could not be had",
            hint="keyturn log verify; until it is back, nobody can say what it asks for",
        )
    parsed = records.parse(raw)
    return Pending(parsed.digest, parsed.statement.predicate, parsed.statement.subject)


def require_can_authorize(
    pending: Pending, trust: TrustState, view: GateView, *, member: str, keyid: str, now: int, approve: bool
) -> None:
    """Refuse by name whoever's authorization would not count, before anything is signed."""
    if not approve:
        known = trust.roster.members.get(member)
        if known is None or known.kind != "human":
            raise Refused("signer-not-human", f"`{member}` is no human of the lab: only humans deny")
        if pending.made.break_glass_at is not None:
            raise Refused(
                "denial-without-effect",
                f"{pending.id} is break-glass: no denial ends it",
                hint=f"whoever asked, or somebody of security: keyturn grant revoke {pending.id}",
            )
    else:
        view.known.require_read(f"request:{pending.digest}", what="request")  # it may be denied already
        require_countable_key(trust, member, keyid)
        if member in persons.excluded(trust.roster, pending.made.requester, pending.made.beneficiary):
            raise Refused(
                "approver-concerned",
                f"`{member}` asks, benefits, or answers for an agent that does, and can never approve this",
                hint=f"keyturn grant explain {pending.id} says who could",
            )
    view.known.require_unsuspended(member, keyid, now=now, what="approver")
    if approve:
        _require_open(pending, view, member=member, now=now)


def _require_open(pending: Pending, view: GateView, *, member: str, now: int) -> None:
    """Refuse an approval that comes too late to change anything: a person who signs it should not think that it did."""
    ended = next(withdrawing.ending(view.known, pending.digest, pending.made, now=now), None)
    if ended is not None:
        raise Refused(
            "request-ended",
            f"`{ended.by}` {ended.verb} {pending.id}: {ended.reason}",
            hint="nothing brings it back: whoever needs it asks again",
        )
    if member in view.known.approved_by.get(pending.digest, frozenset()):
        raise Refused(
            "request-approved-already",
            f"`{member}` has approved {pending.id} already, and counts once",
            hint=f"keyturn grant explain {pending.id}",
        )


def authorize(
    pending: Pending,
    decision: Literal["approve", "deny"],
    *,
    member: str,
    reason: str,
    key: RecordSigner,
    log: LogWriter,
    clock: Clock,
    entropy: Entropy,
) -> Logged:
    """Sign and log the authorization of `pending`, which was shown. In force only when witnessed (`await_witnessed`)."""
    made = authorization(
        pending, decision, member=member, keyid=key.public.keyid, reason=reason, clock=clock, entropy=entropy
    )
    return sign_and_log(made, about(pending.digest, name=pending.id), key=key, log=log)


def authorization(
    pending: Pending,
    decision: Literal["approve", "deny"],
    *,
    member: str,
    keyid: str,
    reason: str,
    clock: Clock,
    entropy: Entropy,
) -> HumanAuthorization:
    """What `member` signs about `pending`: for as long as the request could live."""
    now = clock.now()
    return HumanAuthorization(
        lab=pending.made.lab,
        nonce=entropy.nonce(),
        approver=member,
        key=keyid,
        request=pending.digest,
        trust_version=pending.made.trust_version,
        decision=decision,
        reason=reason,
        signed_at=now,
        expires_at=max(pending.made.not_after, now + 1),
    )
