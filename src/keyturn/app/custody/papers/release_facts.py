"""Gather what a verified pack proves of a release, as every paper says it: nothing here is anybody's word outside the pack.

A part is an artifact by its digest. What kind it is follows from the steps alone: code, parameters and runtime by the role in
which they went in; a model is the released one, what a step of `MAKES_MODELS` made or a `merge` or `quantize` took, an input
named `model` or `base`, and what such an input was ingested from; a measurement is what an `evaluate` step made; every other
input is a data set.

This is NOT verification: only a `VerifiedPack` comes in.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from keyturn.app.custody.verify_pack import VerifiedPack
from keyturn.custody.evaluations import Evaluation
from keyturn.custody.lineage import Lineage, Step, inputs_of
from keyturn.custody.outside import Outside
from keyturn.errors import Refused
from keyturn.formats.access import AccessRequest
from keyturn.formats.digest import ArtifactDigest, Sha256
from keyturn.formats.posix_time import rfc3339
from keyturn.formats.uri import Uri

__all__ = ["Part", "PartKind", "ReleaseFacts", "asks", "gather", "told"]

PartKind = Literal["model", "dataset", "code", "parameters", "runtime", "measurement"]

MAKES_MODELS = frozenset({"train", "finetune", "merge", "quantize"})
_TAKES_MODELS = frozenset({"merge", "quantize"})
_MODEL_NAMES = frozenset({"model", "base"})


@dataclass(frozen=True, slots=True)
class Part:
    """One artifact of the chain. `made`: a step of the chain made it; what none made came from outside."""

    digest: ArtifactDigest
    kind: PartKind
    names: tuple[str, ...]
    made: bool
    evidence: tuple[Outside, ...]

    @property
    def name(self) -> str:
        return self.names[0]


@dataclass(frozen=True, slots=True)
class ReleaseFacts:
    """What a pack proves. `parts` hold everything but the released model; times are POSIX seconds."""

    pack: Sha256
    lab: str
    profile: str
    root_sha256: str
    model: ArtifactDigest
    resource: Uri
    asked: AccessRequest
    request: Sha256
    index: Sha256
    approvers: tuple[str, ...]
    released_at: int
    gate: str
    log_size: int
    log_root: str
    as_of: int
    cosigners: tuple[str, ...]
    level_min: int
    reproduced: bool
    lineage: Lineage
    steps: tuple[Step, ...]
    evaluations: tuple[Evaluation, ...]
    parts: tuple[Part, ...]

    @property
    def id(self) -> uuid.UUID:
        """The same for the same pack: papers that are made again are the same papers."""
        return uuid.uuid5(uuid.NAMESPACE_URL, f"sha256:{self.pack}")

    @property
    def purl(self) -> str:
        """As in the gate's release statement (`formats.release`)."""
        return f"pkg:generic/{self.resource.lab}/{self.resource.name}@{self.model.hex}"

    @property
    def counted(self) -> tuple[Evaluation, ...]:
        """The evaluations that met criteria for this very resource."""
        return tuple(one for one in self.evaluations if one.counts_for(self.resource))

    @property
    def trained_on(self) -> tuple[Part, ...]:
        """The data sets that steps behind the model took to train it."""
        taken = {
            one.digest
            for step in self.lineage.behind(self.model)
            if step.value.build in ("train", "finetune")
            for one in step.value.dependencies
        }
        return tuple(part for part in self.parts if part.kind == "dataset" and part.digest in taken)

    def measured_on(self, evaluation: Evaluation) -> tuple[Part, ...]:
        """The data sets that the criteria of `evaluation` asked for."""
        asked = () if evaluation.rule is None else evaluation.rule.artifacts
        return tuple(part for part in self.parts if part.kind == "dataset" and part.digest in asked)


def gather(verified: VerifiedPack, pack: Sha256) -> ReleaseFacts:
    """What the pack, whose bytes have the SHA-256 `pack`, proves."""
    verdict = verified.verdict
    chain, granted, end = verdict.chain, verdict.granted, verdict.end
    if (
        chain is None
        or granted is None
        or end is None
        or verdict.resource is None
        or verdict.lab is None
        or verdict.profile is None
        or verdict.root_sha256 is None
        or verdict.released_at is None
        or verdict.gate is None
        or verdict.log_size is None
        or verdict.as_of is None
    ):
        raise Refused("pack-refused", "the pack does not say what was released, by whom, or from what")
    return ReleaseFacts(
        pack=pack,
        lab=verdict.lab,
        profile=verdict.profile,
        root_sha256=verdict.root_sha256,
        model=verified.model,
        resource=verdict.resource,
        asked=granted.request,
        request=granted.digest,
        index=granted.subjects[1].hex,
        approvers=tuple(sorted(granted.approvers)),
        released_at=verdict.released_at,
        gate=verdict.gate,
        log_size=verdict.log_size,
        log_root=end.frontier.root.hex(),
        as_of=verdict.as_of,
        cosigners=verdict.cosigners,
        level_min=chain.level_min,
        reproduced=verified.model in chain.reproduced,
        lineage=chain.lineage,
        steps=chain.steps,
        evaluations=chain.evaluations,
        parts=_parts(verified.model, chain.steps, chain.outside, chain.lineage.makers),
    )


def asks(evaluation: Evaluation) -> str:
    """What the criteria of `evaluation` ask for, who said so, and where the log has it."""
    rule = evaluation.rule
    return "" if rule is None else f"{rule.value.asks} (by {rule.value.member}, log index {rule.index})"


def told(facts: ReleaseFacts) -> tuple[tuple[str, str], ...]:
    """What was released, and by whose word, as names and values; every paper has all of them."""
    said = [
        ("pack:sha256", facts.pack),
        ("lab", facts.lab),
        ("lab:profile", facts.profile),
        ("lab:root:sha256", facts.root_sha256),
        ("model", str(facts.model)),
        ("resource", str(facts.resource)),
        ("requester", facts.asked.requester),
        ("justification", facts.asked.justification),
        *(("approver", one) for one in facts.approvers),
        ("permit", facts.asked.permit),
        ("request:sha256", facts.request),
        ("pack-index:sha256", facts.index),
        ("gate", facts.gate),
        ("released", rfc3339(facts.released_at)),
        ("build-level-min", str(facts.level_min)),
        ("build-reproduced", "yes" if facts.reproduced else "no"),
        ("log:size", str(facts.log_size)),
        ("log:root", facts.log_root),
        ("log:as-of", rfc3339(facts.as_of)),
        *(("log:cosigner", one) for one in facts.cosigners),
    ]
    for one in facts.evaluations:
        measured = ", ".join(f"{name}={value}" for name, value in one.values)
        said.append(
            (
                f"evaluation:{one.index}",
                f"{one.metric} {'PASSED' if one.passed else 'FAILED'}: {measured}; criteria: {asks(one)}",
            )
        )
    return tuple(said)


def _parts(
    model: ArtifactDigest,
    steps: Sequence[Step],
    outside: Iterable[Outside],
    makers: Mapping[ArtifactDigest, tuple[Step, ...]],
) -> tuple[Part, ...]:
    kinds: dict[ArtifactDigest, set[PartKind]] = {}
    names: dict[ArtifactDigest, dict[str, None]] = {}
    for step in steps:
        made = step.value
        for taken in made.dependencies:
            kind: PartKind = "dataset" if taken.role == "input" else taken.role
            if taken.role == "input" and (made.build in _TAKES_MODELS or taken.name in _MODEL_NAMES):
                kind = "model"
            kinds.setdefault(taken.digest, set()).add(kind)
            names.setdefault(taken.digest, {})[taken.name] = None
        for output in made.outputs:
            kinds.setdefault(output.digest, set()).add(_made_by(made.build))
            names.setdefault(output.digest, {})[output.name] = None
    for step in steps:
        if step.value.build == "ingest" and all("model" in kinds[one.digest] for one in step.value.outputs):
            for digest in inputs_of(step):
                kinds[digest].add("model")
    found = tuple(outside)
    order: tuple[PartKind, ...] = ("model", "measurement", "code", "parameters", "runtime", "dataset")
    return tuple(
        Part(
            digest=digest,
            kind=next(kind for kind in order if kind in kinds[digest]),
            names=tuple(sorted(names[digest])),
            made=digest in makers,
            evidence=tuple(one for one in found if one.artifact == digest),
        )
        for digest in sorted(kinds)
        if digest != model
    )


def _made_by(build: str) -> PartKind:
    if build in MAKES_MODELS:
        return "model"
    return "measurement" if build == "evaluate" else "dataset"
