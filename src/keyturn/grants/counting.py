"""Whether a record of the log counts, and which of two counts: rules by themselves, without the state of a reader.

A record counts only when its envelope's digest is the leaf's, the leaf is the function of the record that it must be, and its one
signature is by the key that it names of the member or gate that it names, under the trust of that place in the log. Whether
its signer may issue it is for `grants.negatives`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from keyturn.crypto.dsse_signing import verify_one
from keyturn.errors import Malformed, Refused
from keyturn.formats import records
from keyturn.formats.access import AccessRequest, AccessUse, HumanAuthorization
from keyturn.formats.counter_offer import CounterOffer
from keyturn.formats.digest import Sha256
from keyturn.formats.leaf import Leaf
from keyturn.formats.negatives import Lift, Revocation, Suspension
from keyturn.formats.posix_time import rfc3339
from keyturn.formats.review import Review
from keyturn.grants.known import Approval, Request, Suspended, Withdrawal
from keyturn.trust.roster import TrustState
from keyturn.trust.signers import signed_by

__all__ = [
    "counts_instead",
    "read_as",
    "require_founded",
    "require_leaf_of",
    "require_unsuspended",
    "what_and_whose",
    "with_one_more",
    "withdrawal",
]

P = TypeVar("P", AccessRequest, AccessUse, CounterOffer, HumanAuthorization, Lift, Review, Revocation, Suspension)
R = TypeVar("R", Request, Approval)


def read_as(leaf: Leaf, raw: bytes, kind: type[P], trust: TrustState | None) -> P:
    """The record behind `leaf`, verified; raises when it is not what it must be."""
    record = records.parse(raw)
    made = record.statement.predicate
    if records.leaf_of_record(record, raw) != leaf or not isinstance(made, kind):
        raise _not_of_record(leaf)
    trust = require_founded(trust)
    if made.lab != trust.lab:
        raise Refused("lab-other", f"expected a record of lab `{trust.lab}`, got one of `{made.lab}`")
    verify_one(record.envelope, signed_by(made, trust).key)
    return made


def require_leaf_of(leaf: Leaf, raw: bytes) -> None:
    """Refuse a `leaf` that is not the one of the record `raw`."""
    if records.leaf_of(raw) != leaf:
        raise _not_of_record(leaf)


def require_founded(trust: TrustState | None) -> TrustState:
    """The lab's trust; `Refused` while it has none."""
    if trust is None:
        raise Refused("trust-founding", "the lab is founding: nobody's record has any effect yet")
    return trust


def require_unsuspended(
    member: str, keyid: str, suspensions: Iterable[Suspended], trust: TrustState | None, *, at: int
) -> None:
    """Refuse, as `suspended`, what `member` signed with a key when one of `suspensions` of either stands at `at`."""
    for one in suspensions:
        if one.target in (f"member:{member}", f"key:{keyid}") and one.stands(trust, at=at):
            raise Refused("suspended", f"`{member}` is suspended until {rfc3339(one.until)}")


def counts_instead(made: R, known: R | None) -> bool:
    """Whether what was `made` takes the place of what is `known` of the same record."""
    # INVARIANT: the leaf of no record ends nothing. Whoever has the log writes leaves that name a real record and lie about its
    # envelope and its end; what can be read says when it ends, and of what cannot be, what ends last is believed.
    if known is None:
        return True
    return known.raw is None and (made.raw is not None or made.until > known.until)


def what_and_whose(made: AccessRequest) -> tuple[str, ...]:
    """What a renewal must have in common with the request that it renews."""
    return made.requester, made.beneficiary, made.action, made.resource, made.gate


def withdrawal(leaf: Leaf, by: str, reason: str) -> Withdrawal:
    """What the denial or revocation at `leaf` takes away."""
    return Withdrawal("den" if leaf.kind == "den" else "rev", Sha256(leaf.record), by, reason, leaf.until or 0)


def with_one_more(taken: tuple[Withdrawal, ...], found: Withdrawal) -> tuple[Withdrawal, ...]:
    """`taken` with `found`: one of each kind by each person, the one that stands longest."""
    others = []  # repeating oneself costs the gates nothing
    for one in taken:
        if (one.kind, one.by) != (found.kind, found.by):
            others.append(one)
        elif one.until >= found.until:
            found = one
    return (*others, found)


def _not_of_record(leaf: Leaf) -> Malformed:
    return Malformed("leaf-not-of-record", f"log leaf of `{leaf.record[:16]}` is not the leaf of its record")
