"""Say who is suspended, from the suspensions and lifts that the log has: nothing such a signer signed is relied on.

A suspension counts when its `until` is later than `as_of`, and it was signed, under the trust of then, by the target
himself or by a human of group `security`. It is lifted by lifts of two different humans, neither of them the target or
himself suspended. What does not verify has no effect: the log's keeper can delay, and never take away.

This is NOT the gates' view of who may act (`grants.view`): this judges who signed the chain.
"""

from __future__ import annotations

from collections.abc import Sequence

from keyturn.crypto.dsse_signing import verify_one
from keyturn.custody.evidence import Entry
from keyturn.custody.timeline import TrustTimeline
from keyturn.custody.verify import Suspended
from keyturn.errors import KeyturnError, Refused
from keyturn.formats import records
from keyturn.formats.digest import Sha256
from keyturn.formats.negatives import Lift, Suspension
from keyturn.formats.records import Record
from keyturn.trust.roster import TrustState

__all__ = ["suspended_at"]

SECURITY = "security"


def suspended_at(as_of: int, entries: Sequence[Entry], *, timeline: TrustTimeline) -> Suspended:
    """Judge `entries` (every suspension that is live at `as_of`, and every lift of one), in any order."""
    live: dict[Sha256, Suspension] = {}
    lifters: dict[str, list[tuple[str, str]]] = {}
    for entry in sorted(entries, key=lambda one: one.index):
        try:
            record = records.parse(entry.raw)
            made = _verified(record, timeline.before(entry.index))
        except KeyturnError:
            continue
        if isinstance(made, Lift):
            lifters.setdefault(made.suspension, []).append((made.member, made.key))
        elif made.until > as_of:
            live[record.digest] = made
    standing = {d: s for d, s in live.items() if len(_eligible(s, lifters.get(d, []), live)) < 2}
    return Suspended(
        frozenset(s.target_member for s in standing.values() if s.target_member is not None),
        frozenset(s.target_key for s in standing.values() if s.target_key is not None),
    )


def _verified(record: Record, trust: TrustState | None) -> Suspension | Lift:
    made: object = record.statement.predicate
    if trust is None or not isinstance(made, Suspension | Lift):
        raise Refused("suspension-kind", f"expected a suspension or a lift under some trust, got `{record.kind}`")
    held = trust.roster.key_of(made.member, made.key)
    if held is None:
        raise Refused("chain-signer-unknown", f"the trust of then lists no such key of `{made.member}`")
    verify_one(record.envelope, held.key)
    human = trust.roster.members[made.member].kind == "human"
    if isinstance(made, Lift):
        if not human:
            raise Refused("lift-not-allowed", f"`{made.member}` is no human")
        return made
    own = made.member == made.target_member or trust.roster.key_of(made.member, made.target_key or "") is not None
    if not own and not (human and made.member in trust.roster.members_of(SECURITY)):
        raise Refused("suspension-not-allowed", f"`{made.member}` is no human of group `{SECURITY}`")
    return made


def _eligible(suspension: Suspension, lifters: list[tuple[str, str]], live: dict[Sha256, Suspension]) -> frozenset[str]:
    # Somebody under any live suspension, lifted or not, lifts nobody: two of them could otherwise lift each other.
    members = {s.target_member for s in live.values()}
    keys = {s.target_key for s in live.values()} | {suspension.target_key}
    return frozenset(member for member, key in lifters if member not in members and key not in keys)
