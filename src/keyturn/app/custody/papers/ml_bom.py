"""Render a release as a CycloneDX 1.7 ML-BOM: the model with its card, what went into it, and each step of its making.

Follows https://cyclonedx.org/docs/1.7/json/. The `hashes` of a component are digests of one file; a directory's `dirHash` is none
of these algorithms, and stands in the property `keyturn:digest`, as everything stands there that the format has no field for.

This is NOT signed: what it says is proved by the pack that `keyturn:pack:sha256` names, and by nothing in here.
"""

from __future__ import annotations

import json
import shlex
from typing import Any

from keyturn.app.custody.papers.release_facts import Part, PartKind, ReleaseFacts, asks, told
from keyturn.custody.lineage import Step, inputs_of
from keyturn.formats.digest import ArtifactDigest
from keyturn.formats.posix_time import rfc3339
from keyturn.formats.provenance import build_type

__all__ = ["render"]

_DATA: dict[PartKind, str] = {
    "dataset": "dataset",
    "code": "source-code",
    "parameters": "configuration",
    "measurement": "other",
}
_TASKS = {"ingest": "copy", "merge": "merge", "evaluate": "test", "package": "deliver"}


def render(facts: ReleaseFacts, *, version: str) -> bytes:
    """The ML-BOM as JSON, by this `version` of Keyturn; the same for the same pack."""
    bom = {
        "$schema": "http://cyclonedx.org/schema/bom-1.7.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.7",
        "serialNumber": f"urn:uuid:{facts.id}",
        "version": 1,
        "metadata": {
            "timestamp": rfc3339(facts.released_at),
            "tools": {"components": [{"type": "application", "name": "keyturn", "version": version}]},
            "component": _model(facts),
            "properties": _properties(told(facts)),
        },
        "components": [_component(part) for part in facts.parts],
        "dependencies": _dependencies(facts),
        "formulation": [{"workflows": [_workflow(step) for step in facts.steps]}],
    }
    return (json.dumps(bom, ensure_ascii=False, indent=2) + "\n").encode()


def _model(facts: ReleaseFacts) -> dict[str, Any]:
    measured = [one for evaluation in facts.counted for one in evaluation.values]
    return {
        "type": "machine-learning-model",
        "bom-ref": str(facts.model),
        "manufacturer": {"name": facts.lab},
        "name": facts.resource.name,
        "version": facts.model.hex,
        "purl": facts.purl,
        **_hashes(facts.model),
        "modelCard": {
            "modelParameters": {"datasets": [{"ref": str(part.digest)} for part in facts.trained_on]},
            "quantitativeAnalysis": {
                "performanceMetrics": [{"type": name, "value": value} for name, value in measured]
            },
            "properties": _properties((f"criteria:{one.criteria}", asks(one)) for one in facts.counted),
        },
        "properties": _properties([("digest", str(facts.model))]),
    }


def _component(part: Part) -> dict[str, Any]:
    about = [("digest", str(part.digest)), ("made", "by a step of this chain" if part.made else "outside")]
    about += [("name", name) for name in part.names]
    for one in part.evidence:
        found = one.evidence.found
        about.append(("evidence", f"{found.statement} signed by {found.signer}, record {one.record}"))
    named: dict[str, Any] = {"bom-ref": str(part.digest), "name": part.name, **_hashes(part.digest)}
    if part.kind == "model":
        named["type"] = "machine-learning-model"
    elif part.kind == "runtime":
        named["type"] = "platform"
    else:
        named |= {"type": "data", "data": [{"type": _DATA[part.kind], "name": part.name}]}
    return named | {"properties": _properties(about)}


def _dependencies(facts: ReleaseFacts) -> list[dict[str, Any]]:
    found = []
    for digest in (facts.model, *(part.digest for part in facts.parts)):
        taken = {
            str(one.digest)
            for step in facts.lineage.makers.get(digest, ())
            for one in step.value.dependencies
            if one.digest != digest
        }
        found.append({"ref": str(digest), "dependsOn": sorted(taken)})
    return found


def _workflow(step: Step) -> dict[str, Any]:
    made = step.value
    task = _TASKS.get(made.build, "build")
    about = [
        ("build-type", build_type(made.build)),
        ("builder", str(made.builder)),
        ("build-level", str(made.level)),
        ("sandbox", made.sandbox),
        ("log-index", str(step.index)),
        ("provenance:sha256", step.digest),
        *((f"check:{one.name}", one.check) for one in made.dependencies if one.check is not None),
    ]
    return {
        "bom-ref": f"step:{step.digest}",
        "uid": made.request,
        "name": made.step,
        "taskTypes": [task],
        "steps": [{"name": made.step, "commands": [{"executed": shlex.join(made.command)}]}],
        "inputs": [{"resource": {"ref": str(one)}} for one in _taken(step)],
        "outputs": [
            {"type": "metrics" if made.build == "evaluate" else "artifact", "resource": {"ref": str(one.digest)}}
            for one in made.outputs
        ],
        "timeStart": rfc3339(made.started_at),
        "timeEnd": rfc3339(made.finished_at),
        "properties": _properties(about),
    }


def _taken(step: Step) -> tuple[ArtifactDigest, ...]:
    others = (one.digest for one in step.value.dependencies if one.role != "input")
    return tuple(dict.fromkeys((*inputs_of(step), *others)))


def _hashes(digest: ArtifactDigest) -> dict[str, Any]:
    return {"hashes": [{"alg": "SHA-256", "content": digest.hex}]} if digest.algorithm == "sha256" else {}


def _properties(said: Any) -> list[dict[str, str]]:
    return [{"name": f"keyturn:{name}", "value": value} for name, value in said]
