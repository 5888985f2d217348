"""Take access away, and give it back: revoke or withdraw a request, suspend a member, key or gate, lift a suspension.

Each is one record by one person. It counts from the moment when it is witnessed: `await_witnessed` says so, or that it is NOT IN
FORCE, as the person's own client computes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from keyturn.app.access.authorize import Pending
from keyturn.app.records.find_record import only_one, record_prefix
from keyturn.app.records.nearest import meant
from keyturn.app.records.sign_record import Logged, about, sign_and_log
from keyturn.crypto.dsse_signing import RecordSigner
from keyturn.errors import Refused
from keyturn.formats.counter_offer import CounterOffer
from keyturn.formats.deployment import Deployment
from keyturn.formats.digest import sha256
from keyturn.formats.disposal import Disposal
from keyturn.formats.negatives import Lift, Revocation, Suspension
from keyturn.formats.posix_time import duration
from keyturn.formats.review import Review
from keyturn.formats.statement import Subject
from keyturn.formats.tombstone import Tombstone
from keyturn.grants import negatives, withdrawing
from keyturn.grants.known import SECURITY, Suspended
from keyturn.grants.view import GateView
from keyturn.ports import Clock, Entropy, LogWriter
from keyturn.trust.roster import TrustState

__all__ = ["Hand", "Target", "find_suspended", "lift", "require_known", "require_short", "revoke", "suspend"]


@dataclass(frozen=True, slots=True)
class Hand:
    """Whoever signs, and with what: one member, one key, one log, one clock."""

    member: str
    key: RecordSigner
    log: LogWriter
    clock: Clock
    entropy: Entropy

    def require_unsuspended(self, view: GateView, *, now: int) -> None:
        """Refuse a signer who is suspended: gates would not take the record, and he would be told that it is in force."""
        view.known.require_unsuspended(self.member, self.key.public.keyid, now=now, what="signer")

    def opening(self, trust: TrustState, *, now: int) -> dict[str, Any]:
        """The fields that every record by a member has: whose it is, and when it was signed."""
        return {
            "lab": trust.lab,
            "nonce": self.entropy.nonce(),
            "member": self.member,
            "key": self.key.public.keyid,
            "signed_at": now,
        }

    def logs(
        self,
        made: CounterOffer | Deployment | Disposal | Lift | Review | Revocation | Suspension | Tombstone,
        subjects: tuple[Subject, ...],
    ) -> Logged:
        """Sign `made` and hand it to the log."""
        return sign_and_log(made, subjects, key=self.key, log=self.log)


@dataclass(frozen=True, slots=True)
class Target:
    """What is suspended: a member by id, a key by key id, or a gate by URI."""

    kind: Literal["member", "key", "gate"]
    name: str


def revoke(pending: Pending, hand: Hand, trust: TrustState, view: GateView, *, reason: str) -> Logged:
    """End `pending` for good; a withdrawal when the signer is its requester or beneficiary."""
    now = hand.clock.now()
    hand.require_unsuspended(view, now=now)
    if pending.made.break_glass_at is not None and not withdrawing.may_end(hand.member, pending.made, trust):
        raise Refused(
            "revocation-without-effect",
            f"{pending.id} is break-glass: its own parties end it, or a human of `{SECURITY}`",
            hint=f"ask one of `{SECURITY}`, who can also suspend its people and close its gate",
        )
    made = Revocation(
        **hand.opening(trust, now=now),
        reason=reason,
        request=pending.digest,
        until=max(pending.made.not_after, now + 1),
    )
    negatives.require_may_revoke(made, trust, frozenset({pending.made.requester, pending.made.beneficiary}))
    return hand.logs(made, about(pending.digest, name=pending.id))


def require_known(target: Target, trust: TrustState) -> None:
    """Refuse a target that the trust in force does not list: a slip of the hand would leave the one who is meant at work."""
    there: dict[str, tuple[str, ...]] = {
        "member": tuple(trust.roster.members),
        "key": (
            *(held.key.keyid for member in trust.roster.members.values() for held in member.keys),
            *(builder.key.keyid for builder in trust.builders.values()),
            *(gate.key.keyid for gate in trust.gates.values()),
        ),
        "gate": tuple(trust.gates),
    }
    if target.name not in there[target.kind]:
        raise Refused(
            "suspend-target-unknown",
            f"the lab has no {target.kind} `{target.name[:120]}`, and nothing was suspended",
            hint=meant(target.name, there[target.kind], what=f"{target.kind}s"),
        )


def require_short(duration_s: int | None, trust: TrustState) -> None:
    """Refuse a suspension for longer than targets allow; `None` is as long as they do."""
    most_s = trust.limits.suspension_max_s
    if duration_s is not None and duration_s > most_s:
        raise Refused(
            "suspension-too-long",
            f"a suspension lasts at most {duration(most_s)}, and nothing was suspended",
            hint="leave out --duration: it lasts as long as the lab allows, and can be signed again",
        )


def suspend(
    target: Target, hand: Hand, trust: TrustState, view: GateView, *, reason: str, duration_s: int | None
) -> Logged:
    """Suspend `target` at once, for `duration_s` seconds or as long as targets allow; refused when it would have no effect."""
    now = hand.clock.now()
    made = Suspension(
        **hand.opening(trust, now=now),
        reason=reason,
        target_member=target.name if target.kind == "member" else None,
        target_key=target.name if target.kind == "key" else None,
        target_gate=target.name if target.kind == "gate" else None,
        until=now + (duration_s or trust.limits.suspension_max_s),
    )
    if not negatives.is_own(made, trust):
        hand.require_unsuspended(view, now=now)
        tag = negatives.target_of(made)
        before = tuple(s for s in view.known.suspensions.values() if (s.by, s.target) == (hand.member, tag))
        negatives.require_may_suspend(made, trust, before)
    return hand.logs(made, about(sha256(target.name.encode("utf-8")), name=target.name))


def find_suspended(view: GateView, text: str, *, now: int) -> Suspended:
    """The suspension that `text` (`sus-` and 8 to 64 digits) names and that still stands."""
    _, prefix = record_prefix(text, ("sus",))
    found = [s for d, s in view.known.suspensions.items() if d.startswith(prefix)]
    alive = [s for s in found if now < s.until and not s.lifted]
    if not alive:
        raise Refused("suspension-unknown", f"no suspension `{text[:80]}` stands", hint="keyturn trust suspended")
    return only_one(text, alive)


def lift(suspended: Suspended, hand: Hand, trust: TrustState, view: GateView, *, reason: str) -> Logged:
    """Lift `suspended`, as one of the two humans that it takes."""
    now = hand.clock.now()
    hand.require_unsuspended(view, now=now)
    made = Lift(**hand.opening(trust, now=now), reason=reason, suspension=suspended.digest)
    negatives.require_may_lift(made, trust, suspended)
    return hand.logs(made, about(suspended.digest))
