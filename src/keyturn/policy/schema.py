"""Name what policies may speak of: entity types, actions and facts, built in and closed.

`ACTIONS` and `FACTS` are the tables; `STRICT` and `EVALUATION` are the Cedar schemas made of them. The two differ in one
thing: policies are validated as if every fact were there (`STRICT`), and evaluated knowing that a fact may be missing
(`EVALUATION`), so that a missing fact is an evaluation error, and an evaluation error is a Deny. `has` is refused by the
loader, so no policy can turn a missing fact into a yes. Normative page: docs/formats/policy.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from keyturn.formats.uri import ResourceType

__all__ = [
    "ACTIONS",
    "ENTITY_OF_KIND",
    "ENTITY_OF_RESOURCE",
    "EVALUATION",
    "FACTS",
    "STRICT",
    "Action",
    "FactType",
    "render",
]

FactType = Literal["bool", "int", "names"]


@dataclass(frozen=True, slots=True)
class Action:
    """A verb on some types of resources. A one-shot acts once, when the log says that this use is the first."""

    resources: tuple[ResourceType, ...]
    one_shot: bool = False


ACTIONS: Mapping[str, Action] = MappingProxyType(
    {
        "bucket:read": Action(("bucket",)),
        "bucket:write": Action(("bucket",)),
        "cluster:admin": Action(("cluster",)),
        "cluster:exec": Action(("cluster",)),
        "dataset:read": Action(("dataset",)),
        "db:read": Action(("db",)),
        "db:write": Action(("db",)),
        "host:replay": Action(("host", "hosts")),
        "host:root": Action(("host", "hosts")),
        "host:shell": Action(("host", "hosts")),
        "model:deploy": Action(("model",)),
        "model:release": Action(("model", "release"), one_shot=True),
        "procedure:run": Action(("procedure",), one_shot=True),
        "repo:push": Action(("repo",)),
        "report:release": Action(("report",), one_shot=True),
        "weights:export": Action(("model",), one_shot=True),
        "weights:read": Action(("model",)),
        "weights:serve": Action(("model",)),
    }
)

FACTS: Mapping[str, FactType] = MappingProxyType(
    {
        # What is known of the chain of custody behind the request's subjects: `custody.facts` computes these.
        "custody.verified": "bool",
        "custody.complete": "bool",
        "custody.linked": "bool",
        "custody.steps": "int",
        "custody.level_min": "int",
        "custody.builders_allowed": "bool",
        "custody.inputs_declared": "bool",
        "custody.inputs_checked_full": "bool",
        "custody.sandboxed": "bool",
        "custody.evaluated": "bool",
        "custody.evaluations_passed": "bool",
        "custody.criteria_before_run": "bool",
        "custody.evaluations_met": "names",
        "custody.statements": "int",
        "custody.check_min": "int",
        "custody.code_reviewed": "bool",
        "custody.reproduced": "bool",
        "custody.chain_reproduced": "bool",
        "custody.own_words_aside": "int",
        "custody.evidence_count": "int",
        "custody.evidence_complete": "bool",
        "custody.evidence_level_min": "int",
        # What the request itself says: `decide` adds these.
        "request.duration_s": "int",
        "request.bytes_max": "int",
        "request.for_other": "bool",
        "request.renewal": "bool",
        "request.break_glass": "bool",
        "request.command": "bool",
        "request.forwards": "bool",
        "request.recorded": "bool",
        "request.sftp": "bool",
        "request.sources": "bool",
        "request.read_only": "bool",
        "request.tables": "bool",
        "request.statement_timeout": "bool",
        "request.connections": "bool",
        "request.watched": "bool",
        # How the approvals that count were signed: the gate's verifier adds these (`grants.approvers`).
        "approval.device_bound": "bool",
        "approval.attested": "bool",
        # When the decision is made, in UTC: `decide` adds these. Monday is 1.
        "time.hour": "int",
        "time.weekday": "int",
        # What the gate knows of itself.
        "gate.recorded": "bool",
    }
)

ENTITY_OF_KIND: Mapping[str, str] = MappingProxyType({"human": "Human", "agent": "Agent", "workload": "Workload"})

ENTITY_OF_RESOURCE: Mapping[ResourceType, str] = MappingProxyType(
    {
        "bucket": "Bucket",
        "cluster": "Cluster",
        "dataset": "Dataset",
        "db": "Db",
        "gate": "Gate",
        "host": "Host",
        "hosts": "Hosts",
        "model": "Model",
        "procedure": "Procedure",
        "release": "Release",
        "repo": "Repo",
        "report": "Report",
        "trust": "Trust",
    }
)

_CEDAR_TYPE: Mapping[FactType, str] = MappingProxyType({"bool": "Bool", "int": "Long", "names": "Set<String>"})


def render(facts: Mapping[str, FactType], *, optional: bool) -> str:
    """Render the Cedar schema in which each of `facts` is required, or `optional`."""
    colon = "?:" if optional else ":"
    areas: dict[str, list[str]] = {}
    for name, kind in facts.items():
        area, _, leaf = name.partition(".")
        areas.setdefault(area, []).append(f"{leaf}{colon} {_CEDAR_TYPE[kind]}")
    context = ", ".join(f"{area}{colon} {{{', '.join(fields)}}}" for area, fields in areas.items())
    kinds = ", ".join(ENTITY_OF_KIND.values())
    resources = ", ".join(ENTITY_OF_RESOURCE.values())
    lines = [
        "entity Group in [Group];",
        f"entity {kinds} in [Group];",
        f"entity {resources} in [{resources}];",
        f"type Facts = {{{context}}};",
    ]
    for name, action in ACTIONS.items():
        on = ", ".join(ENTITY_OF_RESOURCE[kind] for kind in action.resources)
        lines.append(f'action "{name}" appliesTo {{principal: [{kinds}], resource: [{on}], context: Facts}};')
    return "\n".join(lines) + "\n"


STRICT = render(FACTS, optional=False)
EVALUATION = render(FACTS, optional=True)
