"""Read any record that the log may hold, and compute the leaf that stands for it.

One table says, for each predicate type, the leaf kind, the strict type to parse with, and what the leaf is `about`.
SLSA, in-toto and other foreign statements are kept byte for byte: of them only the predicate type and the subjects'
digests are read here. Trust versions (TUF metadata with its target files) are no DSSE envelopes: see `formats.trust_version`.

This is NOT verification: no signature is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import msgspec

from keyturn.errors import Malformed
from keyturn.formats import (
    access,
    canonical_json,
    counter_offer,
    deployment,
    disposal,
    dsse,
    evidence,
    negatives,
    provenance,
    recording,
    recovery,
    release,
    review,
    source,
    statement,
    steps,
    test_result,
    tombstone,
    trust_version,
)
from keyturn.formats import leaf as leaf_format
from keyturn.formats.access import AccessRequest, AccessUse, GateCheckin, HumanAuthorization
from keyturn.formats.counter_offer import CounterOffer
from keyturn.formats.deployment import Deployment
from keyturn.formats.digest import Sha256, sha256
from keyturn.formats.disposal import Disposal
from keyturn.formats.dsse import Envelope
from keyturn.formats.evidence import Evidence, EvidencePart
from keyturn.formats.leaf import Kind, Leaf
from keyturn.formats.negatives import Lift, Revocation, Suspension
from keyturn.formats.provenance import Provenance
from keyturn.formats.recording import Recording
from keyturn.formats.recovery import RecoveryGrant
from keyturn.formats.review import Review
from keyturn.formats.source import SourceReview
from keyturn.formats.statement import Statement
from keyturn.formats.steps import EvaluationCriteria, StepRequest
from keyturn.formats.tombstone import Tombstone

__all__ = [
    "PREDICATE_TYPES",
    "Opened",
    "Record",
    "Sealed",
    "leaf_of",
    "leaf_of_record",
    "open_record",
    "parse",
    "read",
    "record_id",
]

_FOREIGN: dict[str, Kind] = {
    provenance.PROVENANCE: "prv",
    release.VSA: "vsa",
    test_result.TEST_RESULT: "tst",
    release.RELEASE: "rel",
}

_TRUST_VERSION = (b'{"files":', b'{"metadata":')
"""How the canonical text of a trust version begins."""


@dataclass(frozen=True, slots=True)
class Record:
    """A parsed record of ours: its kind, digest (SHA-256 of the payload), envelope and statement."""

    kind: Kind
    digest: Sha256
    envelope: Envelope
    statement: Statement[Any]

    @property
    def id(self) -> str:
        return record_id(self.kind, self.digest)


class Opened(msgspec.Struct, frozen=True, gc=False):
    """A record with all that was read of it: for whoever needs its leaf, and what it says, of 100,000. Made by `open_record`.

    `said` is a statement of ours, or provenance of ours; None of everything else, which whoever needs it reads himself.
    """

    raw: bytes
    leaf: Leaf
    leaf_text: bytes
    envelope: Envelope | None
    """None of a trust version."""
    said: Statement[Any] | Provenance | None


class Sealed:
    """A record that is opened when somebody first asks, on whatever thread that is, and kept so. It is no other one for that."""

    __slots__ = ("_opened", "raw")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self._opened: Opened | None = None

    @property
    def opened(self) -> Opened:
        """What `open_record` makes of it; raises what that raises."""
        found = self._opened
        if found is None:
            found = self._opened = open_record(self.raw)
        return found


@dataclass(frozen=True, slots=True)
class _Rule:
    type: type[msgspec.Struct]
    kind: Callable[[Any], Kind]
    about: Callable[[Any], tuple[str, ...]]
    until: Callable[[Any], int | None]


def record_id(kind: str, digest: str) -> str:
    """The name by which people and the command line know a record: `req-<32 hex>`."""
    return f"{kind}-{digest[:32]}"


def parse(raw: bytes) -> Record:
    """Parse the envelope `raw` of one of Keyturn's own record types; `Malformed` for anything else."""
    envelope = dsse.parse_own(raw)
    return _record(envelope, statement.peek(envelope.payload))


def _record(envelope: Envelope, predicate_type: str) -> Record:
    rule = _OWN.get(predicate_type)
    if rule is None:
        raise Malformed(
            "record-unknown", f"record: expected a predicate type of Keyturn's, got `{predicate_type[:120]}`"
        )
    parsed: Statement[Any] = statement.parse(envelope.payload, rule.type, predicate_type)
    return Record(rule.kind(parsed.predicate), envelope.record_digest, envelope, parsed)


def leaf_of(raw: bytes) -> Leaf:
    """Compute the leaf of any record that the log accepts, from its bytes alone; or raise `Malformed`."""
    return read(raw)[0]


def read(raw: bytes) -> tuple[Leaf, Record | None]:
    """Compute the leaf of any record that the log accepts, and parse it if it is one of ours; or raise `Malformed`."""
    if raw.startswith(_TRUST_VERSION):
        version = trust_version.parse(raw)
        kind: Kind = "rot" if version.role == "root" else "tgt"
        leaf = Leaf(
            kind=kind, record=sha256(version.metadata), envelope=sha256(raw), about=(f"version:{version.version}",)
        )
        return leaf, None
    envelope = dsse.parse_foreign(raw, size_bytes_max=canonical_json.SIZE_BYTES_MAX)
    predicate_type = statement.peek(envelope.payload)
    foreign = _FOREIGN.get(predicate_type)
    if foreign is not None:
        digests = statement.subject_digests(envelope.payload)
        return _leaf(foreign, raw, envelope.record_digest, tuple(str(digest) for digest in digests), None)[0], None
    dsse.require_own(envelope, raw)
    record = _record(envelope, predicate_type)
    return leaf_of_record(record, raw), record


def open_record(raw: bytes) -> Opened:
    """Compute the leaf of any record that the log accepts, and keep what was read for it; or raise `Malformed`, as `leaf_of`."""
    if raw.startswith(_TRUST_VERSION):
        leaf = leaf_of(raw)
        return Opened(raw, leaf, leaf_format.render(leaf), None, None)
    envelope = dsse.parse_foreign(raw, size_bytes_max=canonical_json.SIZE_BYTES_MAX)
    try:
        return _open(envelope, raw)
    except Malformed:
        leaf, record = read(raw)  # somebody else's statement, or it names what is wrong
        return Opened(raw, leaf, leaf_format.render(leaf), envelope, None if record is None else record.statement)


def _open(envelope: Envelope, raw: bytes) -> Opened:
    # INVARIANT: a strict parser found the predicate type where it was looked for, so `read` finds the same leaf.
    likely = statement.likely_type(envelope.payload)
    if likely == provenance.PROVENANCE:
        made = provenance.read(envelope.payload)
        tags = [str(output.digest) for output in made.outputs]
        return Opened(raw, *_leaf("prv", raw, envelope.record_digest, tuple(tags), None), envelope, made)
    dsse.require_own(envelope, raw)
    record = _record(envelope, likely)
    return Opened(raw, *_leaf_of_record(record, raw), envelope, record.statement)


def leaf_of_record(record: Record, raw: bytes) -> Leaf:
    """Compute the leaf of a record of ours that the caller has just parsed from `raw`."""
    return _leaf_of_record(record, raw)[0]


def _leaf_of_record(record: Record, raw: bytes) -> tuple[Leaf, bytes]:
    rule = _OWN[record.statement.predicate_type]
    tags = rule.about(record.statement.predicate)
    if record.kind in ("req", "crt", "evd", "evp", "stp", "dep", "dsp"):
        tags += tuple(str(subject.digest) for subject in record.statement.subject)
    return _leaf(record.kind, raw, record.digest, tags, rule.until(record.statement.predicate))


def _leaf(kind: Kind, raw: bytes, digest: Sha256, tags: tuple[str, ...], until: int | None) -> tuple[Leaf, bytes]:
    """The leaf and its text."""
    made = Leaf(kind=kind, record=digest, envelope=sha256(raw), about=tuple(sorted(set(tags))), until=until)
    return made, leaf_format.render(made)  # INVARIANT: the log takes no record whose leaf a gate could not read


def _request_about(p: AccessRequest) -> tuple[str, ...]:
    return (f"gate:{p.gate}", f"member:{p.requester}", f"member:{p.beneficiary}")


def _use_about(p: AccessUse) -> tuple[str, ...]:
    tags = (f"gate:{p.gate}", f"request:{p.request}")
    if p.break_glass is None:
        return tags
    return (*tags, f"resource:{p.break_glass.resource}", *(f"member:{member}" for member in p.break_glass.members))


def _review_about(p: Review) -> tuple[str, ...]:
    return (f"use:{p.use}",) if p.report is None else (f"version:{p.report.trust_version}",)


def _step_about(p: StepRequest) -> tuple[str, ...]:
    return (f"build:{p.build}", f"member:{p.member}") + (() if p.criteria is None else (f"criteria:{p.criteria}",))


def _deployment_about(p: Deployment) -> tuple[str, ...]:
    signer = f"gate:{p.gate}" if p.member is None else f"member:{p.member}"
    ends = () if p.ends is None else (f"ends:{p.ends}",)
    return (f"host:{p.host}", f"request:{p.request}", f"resource:{p.resource}", signer, *ends)


def _disposal_about(p: Disposal) -> tuple[str, ...]:
    return (f"member:{p.member}",) + (() if p.request is None else (f"request:{p.request}",))


def _source_about(p: SourceReview) -> tuple[str, ...]:
    return (f"dirHash:{p.tree}", f"commit:{p.commit}", f"member:{p.member}")


def _suspension_about(p: Suspension) -> tuple[str, ...]:
    targets = (("member", p.target_member), ("key", p.target_key), ("gate", p.target_gate))
    return tuple(f"{tag}:{target}" for tag, target in targets if target is not None)


_OWN: dict[str, _Rule] = {
    access.ACCESS_REQUEST: _Rule(AccessRequest, lambda p: "req", _request_about, lambda p: p.not_after),
    access.HUMAN_AUTHORIZATION: _Rule(
        HumanAuthorization,
        lambda p: "apr" if p.decision == "approve" else "den",
        lambda p: (f"request:{p.request}",),
        lambda p: p.expires_at,
    ),
    access.ACCESS_USE: _Rule(
        AccessUse, lambda p: "use" if p.break_glass is None else "brk", _use_about, lambda p: None
    ),
    access.GATE_CHECKIN: _Rule(GateCheckin, lambda p: "chk", lambda p: (f"gate:{p.gate}",), lambda p: None),
    negatives.REVOCATION: _Rule(Revocation, lambda p: "rev", lambda p: (f"request:{p.request}",), lambda p: p.until),
    negatives.SUSPENSION: _Rule(Suspension, lambda p: "sus", _suspension_about, lambda p: p.until),
    steps.STEP_REQUEST: _Rule(StepRequest, lambda p: "stp", _step_about, lambda p: None),
    steps.EVALUATION_CRITERIA: _Rule(
        EvaluationCriteria, lambda p: "crt", lambda p: (f"model:{p.model}",), lambda p: None
    ),
    evidence.EVIDENCE: _Rule(Evidence, lambda p: "evd", lambda p: (f"outside:{p.outside}",), lambda p: None),
    evidence.EVIDENCE_PART: _Rule(EvidencePart, lambda p: "evp", lambda p: (f"member:{p.member}",), lambda p: None),
    counter_offer.COUNTER_OFFER: _Rule(
        CounterOffer, lambda p: "ofr", lambda p: (f"request:{p.request}",), lambda p: p.until
    ),
    deployment.DEPLOYMENT: _Rule(Deployment, lambda p: "dep", _deployment_about, lambda p: None),
    disposal.DISPOSAL: _Rule(Disposal, lambda p: "dsp", _disposal_about, lambda p: None),
    recording.RECORDING: _Rule(
        Recording, lambda p: "rcd", lambda p: (f"gate:{p.gate}", f"request:{p.request}"), lambda p: None
    ),
    recovery.RECOVERY_GRANT: _Rule(
        RecoveryGrant,
        lambda p: "rcv",
        lambda p: (f"gate:{p.gate}", f"member:{p.beneficiary}", f"resource:{p.resource}"),
        lambda p: None,
    ),
    review.REVIEW: _Rule(Review, lambda p: "rvw", _review_about, lambda p: None),
    source.SOURCE_REVIEW: _Rule(SourceReview, lambda p: "src", _source_about, lambda p: None),
    tombstone.TOMBSTONE: _Rule(Tombstone, lambda p: "tmb", lambda p: (f"erases:{p.record}",), lambda p: None),
    negatives.LIFT: _Rule(Lift, lambda p: "lft", lambda p: (f"suspension:{p.suspension}",), lambda p: None),
}

PREDICATE_TYPES: Mapping[type[msgspec.Struct], str] = MappingProxyType({rule.type: name for name, rule in _OWN.items()})
"""By the type of its predicate, what a statement of ours must call it."""
