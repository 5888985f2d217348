"""Check who signed what comes to the log's door: the right key of the right member, gate or builder, under the newest trust.

This is NOT whether it has any effect: every gate verifies again, and asks more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from keyturn.crypto.credentials import Credential
from keyturn.crypto.dsse_signing import verify_all, verify_one
from keyturn.crypto.keys import PublicKey
from keyturn.errors import Malformed, Refused
from keyturn.formats import dsse, provenance, statement, test_result
from keyturn.formats.access import HumanAuthorization
from keyturn.formats.counter_offer import CounterOffer
from keyturn.formats.digest import Sha256
from keyturn.formats.dsse import Envelope
from keyturn.formats.evidence import Evidence, EvidencePart
from keyturn.formats.negatives import Lift, Suspension
from keyturn.formats.provenance import BuilderId, Provenance
from keyturn.formats.records import Record
from keyturn.formats.review import Review
from keyturn.formats.steps import EvaluationCriteria, StepRequest
from keyturn.formats.test_result import TestResult
from keyturn.formats.tombstone import Tombstone
from keyturn.trust.roster import TrustState
from keyturn.trust.signers import NamesItsSigner, signed_by

__all__ = ["verified_signer"]

_OF_HUMANS = (
    HumanAuthorization,
    Suspension,
    Lift,
    EvaluationCriteria,
    Evidence,
    EvidencePart,
    Review,
    CounterOffer,
    Tombstone,
)


Asked = Callable[[Sha256], StepRequest | None]
"""The verified step request with that digest, if an attempt by it is open now."""


def verified_signer(raw: bytes, record: Record | None, trust: TrustState, asked: Asked = lambda _digest: None) -> str:
    """Whose record it is (`member:ada`, `gate:...`, `builder:...`); `record` is None for a statement of others' formats.

    What an attempt's key signed is of the member who asked for the attempt, whom `asked` tells by the request's digest.
    Raises `Refused` by name, `Malformed` for what is no statement.
    """
    if record is None:
        return _verified_foreign(raw, trust, asked)
    predicate = record.statement.predicate
    if predicate.lab != trust.lab:
        raise Refused("lab-other", f"expected a record of lab `{trust.lab}`, got one of `{predicate.lab}`")
    if not isinstance(predicate, NamesItsSigner):
        raise Refused("record-not-admitted", f"records of kind `{record.kind}` are not admitted here")
    signer = signed_by(predicate, trust)
    if isinstance(predicate, _OF_HUMANS) and trust.roster.members[signer.who.removeprefix("member:")].kind != "human":
        raise Refused("signer-not-human", f"`{signer.who}` is no human: agents and workloads ask, and never decide")
    verify_one(record.envelope, signer.key)
    if isinstance(predicate, StepRequest) and not predicate.is_about(record.statement.subject):
        # It would stand in the chain of a model that it says nothing about.
        raise Refused("step-subjects", "the subjects of the step request are not its inputs")
    return signer.who


def _verified_foreign(raw: bytes, trust: TrustState, asked: Asked) -> str:
    """Every signature of a foreign statement must be by a builder, gate or member of the lab; the first names its signer.

    A chain of custody refuses a statement that is not by whom it names, so nobody may put one into somebody else's chain.
    """
    envelope = dsse.parse_foreign(raw)
    signers: list[str] = []
    keys: list[PublicKey | Credential] = []
    for signature in envelope.signatures:
        found = next((pair for pair in _all_keys(trust) if pair[1].keyid == signature.keyid), None)
        if found is None:
            if len(envelope.signatures) == 1 and (member := _of_attempt(envelope, trust, asked)) is not None:
                return member
            raise Refused("signer-unknown", f"key `{signature.keyid[:16]}` belongs to no builder, gate or member here")
        signers.append(found[0])
        keys.append(found[1])
    verify_all(envelope, tuple(keys))
    if statement.peek(envelope.payload) in _OF_A_CHAIN:
        _require_named(envelope.payload, signers, trust.lab)
    return signers[0]


def _of_attempt(envelope: Envelope, trust: TrustState, asked: Asked) -> str | None:
    """The member in whose name an attempt's key signed `envelope`; None when no attempt that is open says so."""
    if statement.peek(envelope.payload) != provenance.PROVENANCE:
        return None
    try:
        made = provenance.read(envelope.payload)
    except Malformed:
        return None
    request = asked(made.request)
    if request is None or request.attempt is None or made.builder != BuilderId(trust.lab, "member", request.member):
        return None
    key = PublicKey.from_text(request.attempt)
    if envelope.signatures[0].keyid != key.keyid:
        return None
    verify_one(envelope, key)
    return f"member:{request.member}"


_OF_A_CHAIN: Mapping[str, Callable[[bytes], Provenance | TestResult]] = {
    provenance.PROVENANCE: provenance.read,
    test_result.TEST_RESULT: test_result.read,
}


def _require_named(payload: bytes, signers: Sequence[str], lab: str) -> None:
    try:
        named = _OF_A_CHAIN[statement.peek(payload)](payload).builder
    except Malformed as err:  # somebody else's format: no chain holds with it, so only builders may say that much
        if not signers[0].startswith("builder:"):
            raise Refused(
                "signer-no-builder", f"only a builder's statement may be of a format of others: {err.message}"
            ) from err
        return
    if named.lab != lab:
        raise Refused("lab-other", f"expected a statement of lab `{lab}`, got one of `{named.lab}`")
    if list(signers) != [f"{named.kind}:{named.name}"]:
        raise Refused("signer-other", f"the statement names `{named}`, and is signed by {', '.join(signers)}")


def _all_keys(trust: TrustState) -> Iterable[tuple[str, PublicKey]]:
    for builder in trust.builders.values():
        yield f"builder:{builder.id}", builder.key
    for uri, gate in trust.gates.items():
        yield f"gate:{uri}", gate.key
    for member in trust.roster.members.values():
        for held in member.keys:
            yield f"member:{member.id}", held.key
