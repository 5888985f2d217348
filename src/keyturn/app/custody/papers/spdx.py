"""Render a release as SPDX 3.0.1 JSON-LD, by its AI, dataset and build profiles: packages, each step as a build, and who said so.

Follows https://spdx.github.io/spdx-spec/v3.0.1/. Elements are named below `urn:uuid:<of the pack>`, so the same pack has the same
document. A `dirHash` is no algorithm that SPDX names: it stands as a hash of algorithm `other`, and its comment says what it is.
What a profile asks for and no statement says is `noAssertion`, in SPDX's own words for that: licences, and of which type data
sets are; where to download a model from is left out. The time of the document is that of the release.

This is NOT signed: what it says is proved by the pack that its first annotation names, and by nothing in here.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator
from typing import Any

from keyturn.app.custody.papers.release_facts import Part, PartKind, ReleaseFacts, asks, told
from keyturn.custody.lineage import Step
from keyturn.formats.digest import ArtifactDigest
from keyturn.formats.posix_time import rfc3339
from keyturn.formats.provenance import build_type

__all__ = ["CONTEXT", "render"]

CONTEXT = "https://spdx.org/rdf/3.0.1/spdx-context.jsonld"

_CREATION = "_:creation"
_PURPOSE: dict[PartKind, str] = {
    "model": "model",
    "dataset": "data",
    "code": "source",
    "parameters": "configuration",
    "runtime": "platform",
    "measurement": "evidence",
}

_Element = dict[str, Any]


def render(facts: ReleaseFacts, *, version: str) -> bytes:
    """The document as JSON-LD, by this `version` of Keyturn; the same for the same pack."""
    document = {"@context": CONTEXT, "@graph": list(_Document(facts).graph(version))}
    return (json.dumps(document, ensure_ascii=False, indent=2) + "\n").encode()


class _Document:
    """Elements of one document, and the names that they call each other by."""

    def __init__(self, facts: ReleaseFacts) -> None:
        self._facts = facts
        self._model = self._of(facts.model)
        self._lab = self._id("lab")
        self._tool = self._id("keyturn")
        self._count = 0

    def graph(self, version: str) -> Iterator[_Element]:
        facts = self._facts
        elements = [
            self._element("Organization", self._lab, name=facts.lab),
            self._element("Tool", self._tool, name=f"keyturn {version}"),
            *self._people(),
            *self._agents(),
            self._released(),
            *map(self._part, facts.parts),
            *(one for step in facts.steps for one in self._build(step)),
            *self._relations(),
            *self._annotations(),
        ]
        yield {
            "type": "CreationInfo",
            "@id": _CREATION,
            "specVersion": "3.0.1",
            "created": rfc3339(facts.released_at),
            "createdBy": [self._lab],
            "createdUsing": [self._tool],
        }
        yield self._element(
            "SpdxDocument",
            self._id("document"),
            name=str(facts.resource),
            rootElement=[self._model],
            element=[one["spdxId"] for one in elements],
            profileConformance=["core", "software", "ai", "dataset", "build"],
        )
        yield from elements

    def _people(self) -> Iterator[_Element]:
        facts = self._facts
        for member in sorted({facts.asked.requester, *facts.approvers}):
            yield self._element("Person", self._id(f"member:{member}"), name=member)

    def _agents(self) -> Iterator[_Element]:
        for builder in sorted({str(step.value.builder) for step in self._facts.steps}):
            yield self._element("SoftwareAgent", self._id(f"builder:{builder}"), name=builder)
        yield self._element("SoftwareAgent", self._id("gate"), name=self._facts.gate)

    def _released(self) -> _Element:
        facts = self._facts
        metrics = [_entry(name, value) for one in facts.counted for name, value in one.values]
        thresholds = [_entry(one.metric, asks(one)) for one in facts.counted]
        trained = [step for step in facts.lineage.behind(facts.model) if step.value.build in ("train", "finetune")]
        return self._package(
            "ai_AIPackage",
            facts.model,
            name=facts.resource.name,
            purpose="model",
            releaseTime=rfc3339(facts.released_at),
            suppliedBy=self._lab,
            software_packageUrl=facts.purl,
            ai_metric=metrics,
            ai_metricDecisionThreshold=thresholds,
            ai_informationAboutTraining="; ".join(
                f"{step.value.step}: {shlex.join(step.value.command)}" for step in trained
            ),
        )

    def _part(self, part: Part) -> _Element:
        said = [f"{one.evidence.found.statement} signed by {one.evidence.found.signer}" for one in part.evidence]
        kind, more = "software_Package", {}
        if part.kind == "model":
            kind = "ai_AIPackage"
        elif part.kind == "dataset":
            kind, more = "dataset_DatasetPackage", {"dataset_datasetType": ["noAssertion"]}
        return self._package(
            kind,
            part.digest,
            name=part.name,
            purpose=_PURPOSE[part.kind],
            comment="; ".join(["made by a step of this chain" if part.made else "from outside", *said]),
            **more,
        )

    def _build(self, step: Step) -> Iterator[_Element]:
        made = step.value
        build = self._id(f"step:{step.digest}")
        yield self._element(
            "build_Build",
            build,
            name=made.step,
            build_buildType=build_type(made.build),
            build_buildId=made.request,
            build_buildStartTime=rfc3339(made.started_at),
            build_buildEndTime=rfc3339(made.finished_at),
            build_parameter=[
                _entry("command", shlex.join(made.command)),
                _entry("level", str(made.level)),
                _entry("sandbox", made.sandbox),
                _entry("log-index", str(step.index)),
                _entry("provenance:sha256", step.digest),
            ],
        )
        yield self._relation(build, "hasInput", dict.fromkeys(one.digest for one in made.dependencies))
        yield self._relation(build, "hasOutput", dict.fromkeys(one.digest for one in made.outputs))
        yield self._relation(build, "invokedBy", [self._id(f"builder:{made.builder}")])

    def _relations(self) -> Iterator[_Element]:
        facts = self._facts
        if facts.trained_on:
            yield self._relation(self._model, "trainedOn", [part.digest for part in facts.trained_on])
        tested = dict.fromkeys(part.digest for one in facts.counted for part in facts.measured_on(one))
        if tested:
            yield self._relation(self._model, "testedOn", tested)
        for kind in ("hasConcludedLicense", "hasDeclaredLicense"):
            yield self._relation(self._model, kind, ["expandedlicensing_NoAssertionLicense"])
        yield self._relation(self._model, "publishedBy", [self._id("gate")])

    def _annotations(self) -> Iterator[_Element]:
        for name, value in told(self._facts):
            self._count += 1
            yield self._element(
                "Annotation",
                self._id(f"said:{self._count}"),
                annotationType="other",
                subject=self._model,
                statement=f"{name}: {value}",
            )

    def _package(self, kind: str, digest: ArtifactDigest, *, name: str, purpose: str, **more: Any) -> _Element:
        return self._element(
            kind,
            self._of(digest),
            name=name,
            software_packageVersion=digest.hex,
            software_primaryPurpose=purpose,
            verifiedUsing=[_hash(digest)],
            **more,
        )

    def _relation(self, start: str, kind: str, ends: Iterable[ArtifactDigest | str]) -> _Element:
        self._count += 1
        return self._element(
            "Relationship",
            self._id(f"relation:{self._count}"),
            **{"from": start},
            relationshipType=kind,
            to=[self._of(end) if isinstance(end, ArtifactDigest) else end for end in ends],
        )

    def _element(self, kind: str, spdx_id: str, **fields: Any) -> _Element:
        kept = {field: value for field, value in fields.items() if value not in ("", [])}
        return {"type": kind, "spdxId": spdx_id, "creationInfo": _CREATION, **kept}

    def _of(self, digest: ArtifactDigest) -> str:
        return self._id(str(digest))

    def _id(self, name: str) -> str:
        return f"urn:uuid:{self._facts.id}#{name}"


def _hash(digest: ArtifactDigest) -> _Element:
    if digest.algorithm == "sha256":
        return {"type": "Hash", "algorithm": "sha256", "hashValue": digest.hex}
    said = "in-toto dirHash: SHA-256 over the names and SHA-256s of the files of a directory"
    return {"type": "Hash", "algorithm": "other", "hashValue": digest.hex, "comment": said}


def _entry(key: str, value: str) -> _Element:
    return {"type": "DictionaryEntry", "key": key, "value": value}
