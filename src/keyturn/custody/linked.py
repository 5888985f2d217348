"""Say how verified statements hang together: what each rests on, and what rests on it. A graph of these says what descends
from what.

Nodes that are no statement have a name, and a name links whatever says it, in any order:

- an artifact by its digest, `dirHash:...` or `sha256:...`: a step takes it, in whatever role, and gives it;
- `record:<digest>`: a statement gives its own, and whatever names it rests on it (a step on its request, a test result on
  request and criteria, a summary on request and approvals);
- `evaluated:<artifact>`: a test result gives it, packing hands it on, and a release of the artifact rests on it: data on
  which a model was only measured are nothing that it was made of, and its release rests on them all the same;
- `released:<key>/<uri>/<model>`: a gate's summary gives it, and its release statement rests on it.

A denial or revocation rests on the request that it ends, so that whoever has a release finds what took it back. A deployment
rests on its model and on the request by which that was released; the statement that ends it rests on the deployment alone.
Evidence from outside rests on the artifact that it is about, and a disposal on the artifact whose bytes went; nothing rests on
either: what others signed makes nothing here, and what was made of bytes that went stands. A part of an original gives its own
record, by which the evidence names it, and links nothing else.

This is NOT verification of a chain: `custody.verify` judges one. What is linked here was signed by whom trust listed then,
and no more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import get_args

import msgspec

from keyturn.crypto.dsse_signing import verify_one
from keyturn.custody.evidence import Entry, Evidence, Logged
from keyturn.custody.timeline import TrustTimeline
from keyturn.errors import Refused
from keyturn.formats import dsse, records, release
from keyturn.formats.access import AccessRequest, HumanAuthorization
from keyturn.formats.deployment import Deployment
from keyturn.formats.digest import ArtifactDigest, Sha256
from keyturn.formats.disposal import Disposal
from keyturn.formats.evidence import Evidence as OutsideEvidence
from keyturn.formats.evidence import EvidencePart
from keyturn.formats.leaf import Kind
from keyturn.formats.negatives import Revocation
from keyturn.formats.provenance import Provenance
from keyturn.formats.statement import Subject
from keyturn.formats.steps import BuildKind
from keyturn.formats.test_result import TestResult
from keyturn.trust.roster import TrustState
from keyturn.trust.signers import signed_by

__all__ = ["ABOUT_RELEASES", "MODEL_BUILDS", "Linked", "about_release", "linked"]

ABOUT_RELEASES: frozenset[Kind] = frozenset({"req", "apr", "den", "rev", "rel", "vsa", "dep", "dsp", "evd", "evp"})
"""Kinds that `about_release` reads; the others of a chain are `custody.evidence`'s."""

MODEL_BUILDS: frozenset[str] = frozenset(get_args(BuildKind)) - {"ingest", "evaluate"}
"""Steps whose outputs are models or checkpoints of models."""


class Linked(msgspec.Struct, frozen=True, gc=False):
    """A statement as a node: its kind, whose key signed it, and the time that it says it was signed at (None: it says none).

    `label` is the build of a step, the resource of a release, who denied or revoked, and the lab's name for who signed evidence.
    `takes` are (name, whether it is the input of a step, the model of a release, or what evidence is about), `gives` what rests
    on it, `passes` links between names.
    """

    index: int
    kind: Kind
    keyid: str
    said_at: int | None
    label: str
    takes: tuple[tuple[str, bool], ...] = ()
    gives: tuple[str, ...] = ()
    passes: tuple[tuple[str, str], ...] = ()


def linked(evidence: Evidence) -> Iterator[Linked]:
    """The statements of chains as nodes."""
    for request in evidence.requests:
        asked = request.value
        yield Linked(
            request.index, "stp", request.keyid, asked.signed_at, asked.build, gives=(_record(request.digest),)
        )
    for criteria in evidence.criteria:
        said = criteria.value
        yield Linked(
            criteria.index, "crt", criteria.keyid, said.signed_at, said.model, gives=(_record(criteria.digest),)
        )
    yield from map(_step, evidence.provenance)
    yield from map(_result, evidence.results)


def about_release(entry: Entry, timeline: TrustTimeline) -> Linked | None:
    """A record of the kinds `ABOUT_RELEASES` as a node; None when it is about no release of a model, and no evidence of this lab.

    Raises `Refused` or `Malformed` when it is not signed by whom trust listed then: whoever keeps the log can write such
    things.
    """
    trust = timeline.before(entry.index)
    if trust is None:
        raise Refused("chain-before-trust", "the statement was logged before any trust was in force")
    kind = records.leaf_of(entry.raw).kind
    if kind in ("rel", "vsa"):
        return _by_gate(entry, trust)
    record = records.parse(entry.raw)
    made = record.statement.predicate
    if kind == "req" and made.action != "model:release":
        return None
    key = signed_by(made, trust).key
    verify_one(record.envelope, key)
    match made:
        case AccessRequest():
            return Linked(entry.index, "req", key.keyid, None, made.resource, gives=(_record(record.digest),))
        case HumanAuthorization(decision="approve"):
            return Linked(entry.index, "apr", key.keyid, made.signed_at, made.approver, gives=(_record(record.digest),))
        case HumanAuthorization():
            member = made.approver
        case Revocation():
            member = made.member
        case Deployment():
            return _deployment(Logged(entry.index, record.digest, made, key.keyid), record.statement.subject)
        case OutsideEvidence():
            if made.lab != trust.lab:
                return None
            about = ((made.artifact, True),)
            return Linked(entry.index, "evd", key.keyid, made.signed_at, made.outside, takes=about)
        case EvidencePart():
            return Linked(entry.index, "evp", key.keyid, made.signed_at, made.member, gives=(_record(record.digest),))
        case Disposal():
            gone = tuple((str(subject.digest.artifact), False) for subject in record.statement.subject)
            return Linked(entry.index, "dsp", key.keyid, made.signed_at, f"{made.member} at {made.place}", takes=gone)
        case _:
            raise Refused("chain-foreign-statement", f"`{kind}` is no record about a release")
    if trust.roster.members[member].kind != "human":
        return None  # whether its own request is what a machine ends, is for `grants`
    takes = ((_record(made.request), False),)
    return Linked(entry.index, kind, key.keyid, made.signed_at, member, takes=takes)


def _deployment(said: Logged[Deployment], subjects: Sequence[Subject]) -> Linked:
    made = said.value
    if made.ends is not None:
        takes: tuple[tuple[str, bool], ...] = ((_record(Sha256(made.ends)), False),)
    else:
        models = ((str(subject.digest.artifact), False) for subject in subjects)
        takes = ((_record(Sha256(made.request)), False), *models)
    label, gives = ("ended" if made.ends is not None else made.host), (_record(said.digest),)
    return Linked(said.index, "dep", said.keyid, made.signed_at, label, takes=takes, gives=gives)


def _step(step: Logged[Provenance]) -> Linked:
    made = step.value
    passes = (
        (_evaluated(taken.digest), _evaluated(output.digest))
        for taken in made.dependencies
        if made.build == "package" and taken.role == "input"
        for output in made.outputs
    )
    return Linked(
        step.index,
        "prv",
        step.keyid,
        made.finished_at,
        made.build,
        takes=((_record(made.request), False), *((str(d.digest), d.role == "input") for d in made.dependencies)),
        gives=tuple(str(output.digest) for output in made.outputs),
        passes=tuple(passes),
    )


def _result(result: Logged[TestResult]) -> Linked:
    said = result.value
    rests_on = (_record(said.request), _record(said.criteria), str(said.measurement))
    return Linked(
        result.index,
        "tst",
        result.keyid,
        None,
        str(said.subject),
        takes=tuple((name, False) for name in rests_on),
        gives=(_evaluated(said.subject),),
    )


def _by_gate(entry: Entry, trust: TrustState) -> Linked:
    envelope = dsse.parse_foreign(entry.raw)
    hinted = {signature.keyid for signature in envelope.signatures}
    gate = next((gate for gate in trust.gates.values() if gate.key.keyid in hinted), None)
    if gate is None:
        raise Refused("gate-unknown", "no gate that trust listed then signed the statement of a release")
    verify_one(envelope, gate.key)
    if records.leaf_of(entry.raw).kind == "rel":
        said = release.read_release(envelope.payload)
        together = f"released:{gate.key.keyid}/{said.resource}/{said.model}"
        takes = ((str(said.model), True), (_evaluated(said.model), False), (together, False))
        return Linked(entry.index, "rel", gate.key.keyid, None, str(said.resource), takes=takes)
    summary = release.read_summary(envelope.payload)
    together = f"released:{gate.key.keyid}/{summary.resource}/{summary.model}"
    rests_on = tuple((_record(digest), False) for name, digest in summary.inputs if name != "pack-index")
    return Linked(
        entry.index,
        "vsa",
        gate.key.keyid,
        summary.verified_at,
        str(summary.resource),
        takes=rests_on,
        gives=(together,),
    )


def _record(digest: str) -> str:
    return f"record:{digest}"


def _evaluated(artifact: ArtifactDigest) -> str:
    return f"evaluated:{artifact}"
