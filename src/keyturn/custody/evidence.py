"""Read the statements of a chain and verify each signature, under the trust that was in force where it was logged.

What comes out of `read` was signed by the key that the statement names, of a member or builder that trust listed then.
Everything that fails is a `Failure` with a code of its own: a chain is judged whole, and every failure is named.

This is NOT where statements are compared with each other: `custody.verify` does that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from keyturn.crypto.credentials import Credential
from keyturn.crypto.dsse_signing import verify_all, verify_one
from keyturn.crypto.keys import PublicKey
from keyturn.custody.timeline import TrustTimeline
from keyturn.errors import KeyturnError, Refused
from keyturn.formats import dsse, provenance, source, statement, steps, test_result
from keyturn.formats.digest import ArtifactDigest, Sha256
from keyturn.formats.dsse import Envelope
from keyturn.formats.provenance import BuilderId, Provenance
from keyturn.formats.records import Sealed
from keyturn.formats.source import SourceReview
from keyturn.formats.statement import Statement
from keyturn.formats.steps import EvaluationCriteria, StepRequest
from keyturn.formats.test_result import TestResult
from keyturn.formats.uri import Uri
from keyturn.trust.roster import TrustState
from keyturn.trust.signers import signed_by

__all__ = ["Entry", "Evidence", "Failure", "Logged", "Map", "in_turn", "read"]

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")


class Map(Protocol):
    """Apply a pure function to every item, in any order or on many threads, and give the results in the items' order."""

    def __call__(self, function: Callable[[A], B], items: Sequence[A], /) -> Iterable[B]: ...


def in_turn(function: Callable[[A], B], items: Sequence[A], /) -> Iterable[B]:
    """The simplest `Map`: one after the other. `bulk.threads.on_all_cores` is the fast one."""
    return map(function, items)


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A record's envelope and its place in the log, which the caller has proved; and the same record `sealed`, if he reads more
    of it than its statement: then each of them finds read what the other one read."""

    index: int
    raw: bytes
    sealed: Sealed | None = None

    def __post_init__(self) -> None:
        if self.sealed is not None and self.sealed.raw is not self.raw:
            raise TypeError("an Entry has its own record sealed, and no other one")


@dataclass(frozen=True, slots=True, order=True)
class Failure:
    """One thing that is wrong with a chain, at one place in the log (`None`: with the chain as a whole)."""

    index: int | None
    code: str
    message: str


class Logged(msgspec.Struct, Generic[T], frozen=True, gc=False):
    """A statement that verified: its place in the log, its record digest, and the key that signed it."""

    index: int
    digest: Sha256
    value: T
    keyid: str
    artifacts: tuple[ArtifactDigest, ...] = ()
    """Of evaluation criteria: the artifacts that an evaluation by them must take."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Every statement of a chain that verified, in log order, and every failure on the way."""

    provenance: tuple[Logged[Provenance], ...]
    requests: tuple[Logged[StepRequest], ...]
    criteria: tuple[Logged[EvaluationCriteria], ...]
    results: tuple[Logged[TestResult], ...]
    failures: tuple[Failure, ...]
    sources: tuple[Logged[SourceReview], ...]
    """Who stands behind which revision: what does not verify is not there, and fails nothing."""
    unsigned: tuple[Failure, ...]
    """Failures of statements that no builder or human signed whom the trust of then lists. Whoever keeps the log can write such
    things about any model, and an AI agent sign them, so they have no effect: they help to explain a chain that fails without
    them, and fail none."""


@dataclass(frozen=True, slots=True)
class _Attempted:
    """Provenance in a member's name, by a key that is not his: that of an attempt, if he asked for one with it."""

    entry: Entry
    envelope: Envelope
    made: Provenance
    refused: Refused


@dataclass(slots=True)
class _Sorted:
    """What one batch of entries gave; batches are read on different cores and put together in order."""

    provenance: list[Logged[Provenance]]
    requests: list[Logged[StepRequest]]
    criteria: list[Logged[EvaluationCriteria]]
    results: list[Logged[TestResult]]
    failures: list[Failure]
    unsigned: list[Failure]
    attempts: list[_Attempted]
    sources: list[Logged[SourceReview]]


_BATCH = 256


def read(entries: Sequence[Entry], *, lab: str, timeline: TrustTimeline, each: Map = in_turn) -> Evidence:
    """Read and verify `entries` (provenance, step requests, criteria and test results), with `each` on many cores."""
    ordered = sorted(entries, key=lambda entry: entry.index)
    batches = [ordered[start : start + _BATCH] for start in range(0, len(ordered), _BATCH)]
    found = list(each(partial(_read_batch, lab, timeline), batches))
    requests = tuple(one for part in found for one in part.requests)
    ran = [one for part in found for one in part.provenance]
    failures = [one for part in found for one in part.failures]
    unsigned = [one for part in found for one in part.unsigned]
    if attempted := [one for part in found for one in part.attempts]:
        asked = {one.digest: one for one in requests}
        for one in attempted:
            try:
                ran.append(_of_attempt(one, asked))
            except KeyturnError as err:
                failed = failures if _is_somebodys(one.entry, timeline) else unsigned
                failed.append(Failure(one.entry.index, err.code, err.message))
        ran.sort(key=lambda step: step.index)
    return Evidence(
        tuple(ran),
        requests,
        tuple(one for part in found for one in part.criteria),
        tuple(one for part in found for one in part.results),
        tuple(failures),
        tuple(one for part in found for one in part.sources),
        tuple(unsigned),
    )


def _of_attempt(one: _Attempted, asked: Mapping[Sha256, Logged[StepRequest]]) -> Logged[Provenance]:
    """Accept what an attempt's key signed, if the member in whose name it speaks asked for the attempt before."""
    request = asked.get(one.made.request)
    if request is None or request.value.attempt is None or request.index > one.entry.index:
        raise one.refused
    key = PublicKey.from_text(request.value.attempt)
    if request.value.member != one.made.builder.name or one.envelope.signatures[0].keyid != key.keyid:
        raise one.refused
    verify_one(one.envelope, key)
    return Logged(one.entry.index, one.envelope.record_digest, one.made, key.keyid)


def _read_batch(lab: str, timeline: TrustTimeline, batch: Sequence[Entry]) -> _Sorted:
    into = _Sorted([], [], [], [], [], [], [], [])
    for entry in batch:
        try:
            _read_one(entry, lab, timeline, into)
        except KeyturnError as err:
            failed = into.failures if _is_somebodys(entry, timeline) else into.unsigned
            failed.append(Failure(entry.index, err.code, err.message))
    return into


def _is_somebodys(entry: Entry, timeline: TrustTimeline) -> bool:
    """Whether a human or builder that the trust of then lists signed the statement, whatever it says.

    What an agent signed, and does not verify, is less than its own word, which takes nothing away either (`own_words`)."""
    envelope, trust = dsse.parse_foreign(entry.raw), timeline.before(entry.index)
    if trust is None:
        return False
    listed: list[PublicKey | Credential] = [
        held for member in trust.roster.members.values() if member.kind == "human" for held in member.keys
    ]
    listed += [builder.key for builder in trust.builders.values()]
    hinted = {signature.keyid for signature in envelope.signatures}
    for key in listed:
        if key.keyid in hinted:
            try:
                verify_all(envelope, (key,))
            except Refused:
                continue
            return True
    return False


def _read_one(entry: Entry, lab: str, timeline: TrustTimeline, into: _Sorted) -> None:
    # (1) What kind of statement it is: by its own predicate type, whatever an index called it.
    opened = None if entry.sealed is None else entry.sealed.opened
    if opened is None or opened.envelope is None:
        envelope, said = dsse.parse_foreign(entry.raw), None
        digest = envelope.record_digest
    else:
        envelope, said, digest = opened.envelope, opened.said, Sha256(opened.leaf.record)
    predicate_type = statement.likely_type(envelope.payload)
    # (2) The trust of then.
    trust = timeline.before(entry.index)
    if trust is None:
        raise Refused("chain-before-trust", "the statement was logged before any trust was in force")
    # (3) The statement, strictly; (4) its lab; (5) its signature, by the key of whom it names.
    match predicate_type:
        case provenance.PROVENANCE:
            made = said if isinstance(said, Provenance) else provenance.read(envelope.payload)
            try:
                key = _builder_key(made.builder, envelope, trust, lab)
            except Refused as err:
                if err.code != "chain-signer-unknown":
                    raise
                into.attempts.append(_Attempted(entry, envelope, made, err))
                return
            into.provenance.append(Logged(entry.index, digest, made, key.keyid))
        case test_result.TEST_RESULT:
            result = test_result.read(envelope.payload)
            key = _builder_key(result.builder, envelope, trust, lab)
            into.results.append(Logged(entry.index, digest, result, key.keyid))
        case steps.STEP_REQUEST:
            request = _step_request(said) or statement.parse(envelope.payload, StepRequest, predicate_type)
            verify_one(envelope, signed_by(request.predicate, trust).key)
            _require_lab(request.predicate.lab, lab)
            if not request.predicate.is_about(request.subject):
                raise Refused("step-subjects", "the subjects of the step request are not its inputs")
            into.requests.append(Logged(entry.index, digest, request.predicate, request.predicate.key))
        case steps.EVALUATION_CRITERIA:
            criteria = statement.parse(envelope.payload, EvaluationCriteria, predicate_type)
            verify_one(envelope, signed_by(criteria.predicate, trust).key)
            _require_lab(criteria.predicate.lab, lab)
            if trust.roster.members[criteria.predicate.member].kind != "human":
                return  # people say what a model must do: a machine's criteria are none (docs/decisions/0041)
            # The model as a resource stands among the subjects by the digest of its URI; every other one is needed.
            model = ArtifactDigest("sha256", Uri.parse(criteria.predicate.model).digest)
            needed = tuple(one.digest.artifact for one in criteria.subject if one.digest.artifact != model)
            into.criteria.append(Logged(entry.index, digest, criteria.predicate, criteria.predicate.key, needed))
        case source.SOURCE_REVIEW:
            try:
                into.sources.append(_source(envelope, trust, lab, entry.index))
            except KeyturnError:
                return  # it stands behind nothing; whoever needs it is told that it is missing (`custody.sources`)
        case _:
            raise Refused("chain-foreign-statement", f"`{predicate_type[:120]}` is no part of a chain of custody")


def _source(envelope: Envelope, trust: TrustState, lab: str, index: int) -> Logged[SourceReview]:
    made = statement.parse(envelope.payload, SourceReview, source.SOURCE_REVIEW)
    verify_one(envelope, signed_by(made.predicate, trust).key)
    _require_lab(made.predicate.lab, lab)
    if made.subject != made.predicate.subjects:
        raise Refused("source-subjects", "the subject of a word for a revision is not its content")
    return Logged(index, envelope.record_digest, made.predicate, made.predicate.key)


def _step_request(said: Statement[Any] | Provenance | None) -> Statement[StepRequest] | None:
    return said if isinstance(said, Statement) and isinstance(said.predicate, StepRequest) else None


def _require_lab(found: str, lab: str) -> None:
    if found != lab:
        raise Refused("chain-other-lab", f"expected a statement of the lab `{lab}`, got `{found}`")


def _builder_key(builder: BuilderId, envelope: Envelope, trust: TrustState, lab: str) -> PublicKey:
    """Find the key that must have signed as `builder`, and check that it did."""
    _require_lab(builder.lab, lab)
    signatures = envelope.signatures
    if builder.kind == "builder":
        known = trust.builders.get(builder.name)
        if known is None:
            raise Refused(
                "builder-not-allowed",
                f"trust version {trust.targets_version}, in force then, lists no builder `{builder.name}`",
            )
        if len(signatures) != 1 or signatures[0].keyid != known.key.keyid:
            raise Refused("builder-key", f"the statement of builder `{builder.name}` is signed by another key")
        verify_one(envelope, known.key)
        return known.key
    held = trust.roster.key_of(builder.name, signatures[0].keyid)
    if held is None:
        raise Refused(
            "chain-signer-unknown",
            f"the statement that `{builder.name}` ran without a builder is not signed by a key of that member",
        )
    verify_one(envelope, held)
    return held.key
