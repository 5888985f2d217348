"""Sign one of the records that people make, and hand it to the log: durable when this returns, and not yet in force.

What is shown to the person before is the business of each use case.
"""

from __future__ import annotations

from dataclasses import dataclass

from keyturn.crypto import dsse_signing
from keyturn.crypto.dsse_signing import RecordSigner
from keyturn.formats import dsse, records, statement
from keyturn.formats.digest import Sha256
from keyturn.formats.dsse import Envelope
from keyturn.formats.leaf import Leaf
from keyturn.formats.statement import DigestSet, Subject
from keyturn.ports import LogWriter
from keyturn.trust.signers import NamesItsSigner

__all__ = ["Logged", "about", "sign_and_log", "signed"]


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


def signed(predicate: NamesItsSigner, subjects: tuple[Subject, ...], *, key: RecordSigner) -> Envelope:
    """Sign `predicate` with `key`, for whoever takes it to a gate by another way than the log."""
    return dsse_signing.sign(statement.make(predicate, records.PREDICATE_TYPES[type(predicate)], subjects), key)


def sign_and_log(
    predicate: NamesItsSigner, subjects: tuple[Subject, ...], *, key: RecordSigner, log: LogWriter
) -> Logged:
    """Sign `predicate` with `key`, append it, and say where it is; raises what the log's admission refuses."""
    raw = dsse.render(signed(predicate, subjects, key=key))
    index = log.append(raw)
    record = records.parse(raw)
    return Logged(record.id, record.digest, index, records.leaf_of_record(record, raw))
