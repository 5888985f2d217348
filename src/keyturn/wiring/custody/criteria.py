"""What `keyturn step criteria` does: sign and log what a model must reach, before anybody measures it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from keyturn.adapters.clock import SystemClock, SystemEntropy
from keyturn.app.records.sign_record import Logged, sign_and_log
from keyturn.crypto.dsse_signing import RecordSigner
from keyturn.formats.digest import ArtifactDigest
from keyturn.formats.statement import DigestSet, Subject
from keyturn.formats.steps import EvaluationCriteria
from keyturn.trust.roster import TrustState
from keyturn.wiring.keys.own_keys import PageView, own_signer
from keyturn.wiring.lab.places import LabPlace, find_person
from keyturn.wiring.log.log import log_reader, log_writer, trust_behind

__all__ = ["Author", "author_of", "log_criteria"]


@dataclass(frozen=True, slots=True)
class Author:
    """Who states criteria: a member, their key, the lab's trust, and what makes the record one of its own."""

    member: str
    key: RecordSigner
    trust: TrustState
    nonce: str
    now: int


def author_of(place: LabPlace, *, key: str | None) -> Author:
    """The person who runs this command, as the author of criteria at the lab."""
    person = find_person()
    with log_reader(place) as reader:
        trust = trust_behind(place, reader).newest
    return Author(
        person.config.member,
        own_signer(person, approving=False, named=key, view=PageView(trust.roster)),
        trust,
        SystemEntropy().nonce(),
        SystemClock().now(),
    )


def log_criteria(
    place: LabPlace, criteria: EvaluationCriteria, data: Sequence[ArtifactDigest], author: Author
) -> Logged:
    """Sign `criteria`, which were shown, and make them durable in the log; an evaluation must take all of `data`."""
    subjects = tuple(Subject(digest=DigestSet.of(digest)) for digest in data)
    with log_writer(place) as log:
        return sign_and_log(criteria, subjects, key=author.key, log=log)
