"""Sign one of the records that people make, and hand it to the log: durable when this returns, and not yet in force.

One table says which predicate type each has. What is shown to the person before is the business of each use case.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from keyturn.crypto import dsse_signing
from keyturn.crypto.dsse_signing import RecordSigner
from keyturn.formats import access, counter_offer, dsse, negatives, records, review, statement, steps, tombstone
from keyturn.formats.access import AccessRequest, AccessUse, GateCheckin, HumanAuthorization
from keyturn.formats.counter_offer import CounterOffer
from keyturn.formats.digest import Sha256
from keyturn.formats.dsse import Envelope
from keyturn.formats.leaf import Leaf
from keyturn.formats.negatives import Lift, Revocation, Suspension
from keyturn.formats.review import Review
from keyturn.formats.statement import DigestSet, Subject
from keyturn.formats.steps import EvaluationCriteria
from keyturn.formats.tombstone import Tombstone
from keyturn.ports import LogWriter

__all__ = ["Logged", "about", "sign_and_log", "signed"]

Predicate = (
    AccessRequest
    | AccessUse
    | CounterOffer
    | EvaluationCriteria
    | GateCheckin
    | HumanAuthorization
    | Lift
    | Review
    | Revocation
    | Suspension
    | Tombstone
)

_TYPES: Mapping[type, str] = MappingProxyType(
    {
        AccessRequest: access.ACCESS_REQUEST,
        AccessUse: access.ACCESS_USE,
        CounterOffer: counter_offer.COUNTER_OFFER,
        EvaluationCriteria: steps.EVALUATION_CRITERIA,
        GateCheckin: access.GATE_CHECKIN,
        HumanAuthorization: access.HUMAN_AUTHORIZATION,
        Lift: negatives.LIFT,
        Review: review.REVIEW,
        Revocation: negatives.REVOCATION,
        Suspension: negatives.SUSPENSION,
        Tombstone: tombstone.TOMBSTONE,
    }
)


@dataclass(frozen=True, slots=True)
class Logged:
    """A record that the log made durable at `index`."""

    id: str
    digest: Sha256
    index: int
    leaf: Leaf


def about(digest: str, *, name: str = "") -> tuple[Subject, ...]:
    """The one subject of a statement about whatever has this SHA-256."""
    return (Subject(digest=DigestSet(sha256=digest), name=name),)


def signed(predicate: Predicate, subjects: tuple[Subject, ...], *, key: RecordSigner) -> Envelope:
    """Sign `predicate` with `key`, for whoever takes it to a gate by another way than the log."""
    return dsse_signing.sign(statement.make(predicate, _TYPES[type(predicate)], subjects), key)


def sign_and_log(predicate: Predicate, subjects: tuple[Subject, ...], *, key: RecordSigner, log: LogWriter) -> Logged:
    """Sign `predicate` with `key`, append it, and say where it is; raises what the log's admission refuses."""
    raw = dsse.render(signed(predicate, subjects, key=key))
    index = log.append(raw)
    record = records.parse(raw)
    return Logged(record.id, record.digest, index, records.leaf_of_record(record, raw))
