"""Say who is suspended, from the suspensions and lifts that the log has: nothing such a signer signed is relied on.

A suspension counts when its `until` is later than `as_of`, and it was signed, under the trust of then, by the target
himself or by a human of group `security` who was not suspended himself, for at most as long as targets allow. It is lifted by lifts of two different humans, neither of them the target or
himself suspended. What does not verify has no effect: the log's keeper can delay, and never take away.

This is NOT the gates' view of who may act (`grants.view`): this judges who signed the chain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
            made = _verified(record, timeline.before(entry.index), _standing(live, lifters))
        except KeyturnError:
            continue
        if isinstance(made, Lift):
            lifters.setdefault(made.suspension, []).append((made.member, made.key))
        elif made.until > as_of:
            live[record.digest] = made
    return _standing(live, lifters)


def _standing(live: Mapping[Sha256, Suspension], lifters: Mapping[str, list[tuple[str, str]]]) -> Suspended:
    standing = [one for digest, one in live.items() if len(_eligible(one, lifters.get(digest, []), live)) < 2]
    return Suspended(
        frozenset(one.target_member for one in standing if one.target_member is not None),
        frozenset(one.target_key for one in standing if one.target_key is not None),
    )


def _verified(record: Record, trust: TrustState | None, suspended: Suspended) -> Suspension | Lift:
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
    if made.member == made.target_member or trust.roster.key_of(made.member, made.target_key or "") is not None:
        return made
    if not human or made.member not in trust.roster.members_of(SECURITY):
        raise Refused("suspension-not-allowed", f"`{made.member}` is no human of group `{SECURITY}`")
    if made.member in suspended.members or made.key in suspended.keys:
        raise Refused("suspended", f"`{made.member}` is suspended, and suspends nobody else")
    if made.until - made.signed_at > trust.limits.suspension_max_s:
        raise Refused("suspension-too-long", f"a suspension lasts at most {trust.limits.suspension_max_s} s")
    return made


def _eligible(
    suspension: Suspension, lifters: list[tuple[str, str]], live: Mapping[Sha256, Suspension]
) -> frozenset[str]:
    # Somebody under any live suspension, lifted or not, lifts nobody: two of them could otherwise lift each other.
    members = {s.target_member for s in live.values()}
    keys = {s.target_key for s in live.values()} | {suspension.target_key}
    return frozenset(member for member, key in lifters if member not in members and key not in keys)
