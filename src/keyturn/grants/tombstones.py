"""Say which records may lose their text, whose word for that counts, and when it may go (docs/formats/tombstones.md).

- What people wrote about access may be erased: requests, approvals, denials, revocations, suspensions, lifts and offers. What
  custody, gates and later readers need may not: trust versions, uses, check-ins, reviews, recovery grants, steps, criteria,
  provenance; nor a tombstone.
- It takes `Limits.tombstone_signers` different humans, each by a key that could approve. Nobody counts who is concerned: who
  signed the record, asks or benefits by it, is suspended by it, or answers for an agent that does.
- It goes once nothing can be opened with it: a request and its approvals when the request is over, a lift when its suspension is.
  What takes away may go at any time, since that opens nothing.

INVARIANT: a tombstone changes no decision. A reader from whom the text of a denial, revocation or suspension was erased is closed
for what it concerns until that is over, exactly as when it is hidden.
"""

from __future__ import annotations

from keyturn.errors import Malformed, Refused
from keyturn.formats import records
from keyturn.formats.access import AccessRequest, HumanAuthorization
from keyturn.formats.leaf import NEGATIVES, Kind, Leaf
from keyturn.formats.negatives import Suspension
from keyturn.formats.posix_time import rfc3339
from keyturn.formats.records import Record
from keyturn.formats.tombstone import Tombstone
from keyturn.grants.approvers import require_countable_key, verify_approval
from keyturn.grants.negatives import PAIR_REST_S
from keyturn.policy.persons import excluded
from keyturn.trust.roster import Roster, TrustState

__all__ = ["ERASABLE", "concerned", "require_counts", "require_erasable", "require_over"]

ERASABLE: frozenset[Kind] = NEGATIVES | {"apr", "lft", "ofr", "req"}


def require_counts(leaf: Leaf, raw: bytes, trust: TrustState) -> Tombstone:
    """The tombstone `raw` that stands in the log as `leaf`, if it is a human's under `trust`, by a key that could approve."""
    record = records.parse(raw)
    made = record.statement.predicate
    if not isinstance(made, Tombstone) or records.leaf_of_record(record, raw) != leaf:
        raise Malformed("leaf-not-of-record", f"log leaf of `{leaf.record[:16]}` is not the leaf of its record")
    if made.lab != trust.lab:
        raise Refused("lab-other", f"expected a record of lab `{trust.lab}`, got one of `{made.lab}`")
    verify_approval(record.envelope, require_countable_key(trust, made.member, made.key), trust)
    return made


def require_erasable(kind: str) -> None:
    """Refuse a record of a kind that stays: `Refused` `tombstone-kind`."""
    if kind not in ERASABLE:
        raise Refused(
            "tombstone-kind",
            f"expected a record of kind {', '.join(sorted(ERASABLE))}, got `{kind}`: gates, custody or later readers need that",
            hint="docs/guide/personal-data.md says what can be erased, and what not to write into the rest",
        )


def concerned(record: Record, roster: Roster) -> frozenset[str]:
    """Who has no say in whether the text of `record`, of a kind in `ERASABLE`, goes: nobody removes his own traces."""
    made = record.statement.predicate
    match made:
        case AccessRequest():
            return excluded(roster, made.requester, made.beneficiary)
        case HumanAuthorization():
            return excluded(roster, made.approver, made.approver)
        case Suspension() if made.target_member is not None:
            return excluded(roster, made.member, made.target_member)
        case _:
            return excluded(roster, made.member, made.member)


def require_over(leaf: Leaf, *, behind: int, now: int) -> None:
    """Refuse a record that something can still be opened with; `behind` is the end of the request or suspension that it is about,
    0 when the log has none."""
    if leaf.kind in NEGATIVES:
        return
    ends = behind + PAIR_REST_S if leaf.kind == "lft" else max(behind, leaf.until or 0)
    if ends > now:
        raise Refused(
            "tombstone-live",
            f"`{records.record_id(leaf.kind, leaf.record)}` matters to gates until {rfc3339(ends)}",
            hint="wait until then; whoever asked can end a request before, but its text stays until it is over",
        )
