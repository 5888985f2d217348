"""Load a lab's Cedar policy from one verified targets version, strictly, into a `Policy` that is ready to evaluate.

1. there is at least one policy, and every file parses; templates are refused;
2. every policy has an `@id` of its own, across all files (cedarpy names them `policy0`, and would let two share an id);
3. annotations are a closed set: a permit has `quorum` and `pending_max`, and `duration_max` unless its actions are one-shots;
4. operators are a closed set: no arithmetic (overflow passes the validator and errs at run time), no `has` (a missing fact is a
   no, and no policy may ask), no extension functions;
5. every group, member and resource that is named exists; the groups of a quorum too;
6. a permit names its actions, all of them one-shots or none; one for break-glass none of them, and it is over within an hour;
7. Cedar's strict validator accepts the text under the schema in which every fact is required.

One bad policy condemns the whole set: a policy that cannot be read might have been a forbid. A permit that nobody can ever
approve loads, and is dead by itself: see `policy.lint`. Format: docs/formats/policy.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import cedarpy

from keyturn.errors import Refused
from keyturn.formats.access import BREAK_GLASS_MAX_S
from keyturn.policy.quorum import Quorum
from keyturn.policy.schema import ACTIONS, ENTITY_OF_KIND, ENTITY_OF_RESOURCE, EVALUATION, STRICT
from keyturn.trust.roster import Profile, Resources, Roster, TrustState

__all__ = ["Permit", "Policy", "load"]

POLICIES_MAX = 1000
SECONDS_MAX = 30 * 86400

_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}\Z")
_DURATION = re.compile(r"([1-9][0-9]{0,6})([smhd])\Z")
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_OF_PERMIT = frozenset({"id", "quorum", "duration_max", "pending_max", "breakglass"})
_OF_FORBID = frozenset({"id"})
_BINARY = frozenset({"==", "!=", "<", "<=", ">", ">=", "&&", "||", "in", "contains", "containsAll", "containsAny"})

_SCHEMA = cedarpy.Schema.from_str(EVALUATION)


@dataclass(frozen=True, slots=True)
class Permit:
    """A permit as coworkers read it. `asks` are the members whom its scope lets ask, every `when` taken as true.

    `duration_max_s` is None for one-shots that name none. `terms` is one text of its scope and conditions, to compare.
    """

    id: str
    quorum: Quorum
    actions: frozenset[str]
    one_shot: bool
    duration_max_s: int | None
    pending_max_s: int
    break_glass: bool
    asks: frozenset[str]
    terms: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Policy:
    """One targets version's policy, parsed once: made by `load` only. Compare by `trust_version` and `lab`."""

    lab: str
    profile: Profile
    trust_version: int
    roster: Roster
    resources: Resources
    publishers: frozenset[str]
    permits: Mapping[str, Permit]
    forbids: frozenset[str]
    policies: cedarpy.PolicySet = field(repr=False, compare=False)
    entities: cedarpy.Entities = field(repr=False, compare=False)
    schema: cedarpy.Schema = field(repr=False, compare=False)


def load(state: TrustState) -> Policy:
    """Load the policy of `state`, or raise `Refused` with a code `policy-...` that names what is wrong."""
    known = _Known(state.roster, state.resources)
    by_id: dict[str, dict[str, Any]] = {}
    for name, text in state.policy:
        for policy_id, parsed in _parse(name, text):  # (1) (2)
            if policy_id in by_id:
                raise Refused("policy-id-twice", f"`{name}`: policy id `{policy_id}` is used twice")
            by_id[policy_id] = parsed
    if not by_id:
        raise Refused("policy-empty", "expected at least one policy, got none: nothing is allowed")
    if len(by_id) > POLICIES_MAX:
        raise Refused("policy-too-many", f"expected at most {POLICIES_MAX} policies, got {len(by_id)}")
    permits = {}
    for policy_id, parsed in by_id.items():
        _check_operators(policy_id, parsed)  # (4)
        known.check(policy_id, parsed)  # (5)
        if parsed["effect"] == "permit":
            permits[policy_id] = _permit(policy_id, parsed, known)  # (3) (6)
        else:
            _annotations(policy_id, parsed, allowed=_OF_FORBID)
    for name, text in state.policy:
        _validate(name, text)  # (7)
    return Policy(
        lab=state.lab,
        profile=state.profile,
        trust_version=state.targets_version,
        roster=state.roster,
        resources=state.resources,
        publishers=state.publishers,
        permits=MappingProxyType(permits),
        forbids=frozenset(by_id) - frozenset(permits),
        policies=cedarpy.PolicySet.from_json_str(
            json.dumps({"staticPolicies": by_id, "templates": {}, "templateLinks": []})
        ),
        entities=_entities(state.roster, state.resources),
        schema=_SCHEMA,
    )


def _parse(name: str, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        parsed = json.loads(cedarpy.policies_to_json_str(text))
    except (ValueError, RecursionError) as err:
        raise Refused("policy-syntax", f"`{name}`: {_first_line(err)}", detail=str(err)) from err
    if parsed["templates"]:
        raise Refused("policy-template", f"`{name}`: expected policies, got a template")
    for policy in parsed["staticPolicies"].values():
        policy_id = policy.get("annotations", {}).get("id")
        if not isinstance(policy_id, str) or not _ID.match(policy_id):
            raise Refused(
                "policy-id", f"`{name}`: expected each policy to have an @id of [a-z0-9._-], got `{policy_id}`"
            )
        yield policy_id, policy


def _validate(name: str, text: str) -> None:
    result = cedarpy.validate_policies(text, STRICT)
    if not result.validation_passed:
        ids = result.id_annotations_by_policy_id
        said = "; ".join(sorted(f"{ids.get(e.policy_id, '?')}: {_first_line(e.error)}" for e in result.errors))
        raise Refused("policy-invalid", f"`{name}`: {said[:600]}")


def _first_line(err: object) -> str:
    return (str(err).splitlines() or [type(err).__name__])[0][:300]


def _annotations(policy_id: str, parsed: dict[str, Any], *, allowed: frozenset[str]) -> dict[str, str]:
    found: dict[str, str] = parsed["annotations"]
    for name in found:
        if name not in allowed:
            raise Refused(
                "policy-annotation",
                f"policy `{policy_id}`: expected annotations among {', '.join(sorted(allowed))}, got `@{name[:60]}`",
            )
    return found


def _permit(policy_id: str, parsed: dict[str, Any], known: _Known) -> Permit:
    found = _annotations(policy_id, parsed, allowed=_OF_PERMIT)
    if "quorum" not in found:
        raise Refused("policy-quorum", f"policy `{policy_id}`: expected @quorum, got none")
    quorum = Quorum.parse(found["quorum"] or "")
    for term in quorum.terms:
        if term.group not in known.roster.groups:
            raise Refused(
                "policy-unknown-group", f"policy `{policy_id}`: quorum names the unknown group `{term.group}`"
            )
    actions = _actions(policy_id, parsed["action"])
    one_shots = {ACTIONS[action].one_shot for action in actions}
    if len(one_shots) != 1:
        raise Refused("policy-action", f"policy `{policy_id}`: expected only one-shot actions or none, got both")
    one_shot = one_shots.pop()
    if "pending_max" not in found:
        raise Refused("policy-limit-missing", f"policy `{policy_id}`: expected @pending_max, got none")
    if "duration_max" not in found and not one_shot:
        raise Refused("policy-limit-missing", f"policy `{policy_id}`: expected @duration_max, got none")
    made = Permit(
        id=policy_id,
        quorum=quorum,
        actions=actions,
        one_shot=one_shot,
        duration_max_s=_seconds(policy_id, found["duration_max"]) if "duration_max" in found else None,
        pending_max_s=_seconds(policy_id, found["pending_max"]),
        break_glass="breakglass" in found,
        terms=json.dumps([parsed[part] for part in ("principal", "resource", "conditions")], sort_keys=True),
        asks=frozenset(m for m in known.roster.members if known.in_scope(m, parsed["principal"])),
    )
    if made.break_glass:
        _check_break_glass(made, found["breakglass"])
    return made


def _check_break_glass(permit: Permit, value: str | None) -> None:
    if value:
        raise Refused("policy-break-glass", f"policy `{permit.id}`: expected @breakglass without a value, got one")
    if permit.one_shot:
        raise Refused(
            "policy-break-glass",
            f"policy `{permit.id}`: {', '.join(sorted(permit.actions))} cannot be taken back, and is never by break-glass",
        )
    longest_s = permit.pending_max_s + (permit.duration_max_s or 0)
    if longest_s > BREAK_GLASS_MAX_S:
        raise Refused(
            "policy-break-glass",
            f"policy `{permit.id}`: @pending_max and @duration_max of break-glass are {BREAK_GLASS_MAX_S} s together at most, "
            f"got {longest_s} s",
        )


def _seconds(policy_id: str, text: str | None) -> int:
    found = _DURATION.match(text or "")
    seconds = int(found[1]) * _UNIT_S[found[2]] if found else 0
    if not 1 <= seconds <= SECONDS_MAX:
        raise Refused(
            "policy-limit", f"policy `{policy_id}`: expected a limit as `90s`, `30m`, `2h`, `1d`, got `{text}`"
        )
    return seconds


def _actions(policy_id: str, scope: dict[str, Any]) -> frozenset[str]:
    match scope:
        case {"op": "==" | "in", "entity": {"id": str(action)}}:
            named = [action]
        case {"op": "in", "entities": [*entities]}:
            named = [entity["id"] for entity in entities]
        case _:
            named = []
    if not named:
        raise Refused("policy-action", f"policy `{policy_id}`: expected a permit to name its actions, got none")
    for action in named:
        if action not in ACTIONS:
            raise Refused("policy-action", f"policy `{policy_id}`: unknown action `{action[:60]}`")
    return frozenset(named)


def _check_operators(policy_id: str, parsed: dict[str, Any]) -> None:
    todo: list[Any] = [condition["body"] for condition in parsed["conditions"]]
    while todo:
        (operator, operands), *more = todo.pop().items()
        if more:
            raise Refused("policy-operator", f"policy `{policy_id}`: an expression has more than one operator")
        match operator:
            case "Value" | "Var":
                continue
            case "!":
                todo.append(operands["arg"])
            case "." | "like" | "is":
                todo.append(operands["left"])
            case "Set":
                todo.extend(operands)
            case "if-then-else":
                todo.extend(operands[branch] for branch in ("if", "then", "else"))
            case _ if operator in _BINARY:
                todo.extend((operands["left"], operands["right"]))
            case _:
                raise Refused(
                    "policy-operator",
                    f"policy `{policy_id}`: `{operator[:40]}` is not allowed: no arithmetic, no `has`, no functions",
                )


@dataclass(frozen=True, slots=True)
class _Known:
    """The entities that a policy may name."""

    roster: Roster
    resources: Resources

    def check(self, policy_id: str, parsed: dict[str, Any]) -> None:
        known = frozenset(self._uids())
        for kind, name in _mentioned([parsed["principal"], parsed["resource"], parsed["conditions"]]):
            if (kind, name) in known or (kind == "Action" and name in ACTIONS):
                continue
            what = f"`{kind[:40]}::{name[:80]}`"
            if kind == "Group":
                raise Refused("policy-unknown-group", f"policy `{policy_id}`: {what} is no group of the roster")
            raise Refused(
                "policy-unknown-entity",
                f"policy `{policy_id}`: {what} is not in the roster or the resources",
                hint="list it in resources.toml beside the policy, or invite the member",
            )

    def _uids(self) -> Iterator[tuple[str, str]]:
        yield from (("Group", group) for group in self.roster.groups)
        yield from ((ENTITY_OF_KIND[member.kind], member.id) for member in self.roster.members.values())
        yield from ((ENTITY_OF_RESOURCE[r.uri.type], r.uri.name) for r in self.resources.by_uri.values())

    def in_scope(self, member: str, scope: dict[str, Any]) -> bool:
        """Whether the principal part of a scope lets `member` ask."""
        kind = ENTITY_OF_KIND[self.roster.members[member].kind]
        inside = scope.get("entity") or scope.get("in", {}).get("entity")
        if scope["op"] == "is" and scope["entity_type"] != kind:
            return False
        if inside is None:
            return True
        if inside["type"] == "Group":
            return member in self.roster.members_of(inside["id"])
        return (inside["type"], inside["id"]) == (kind, member)


def _mentioned(node: Any) -> Iterator[tuple[str, str]]:
    todo = [node]
    while todo:
        match todo.pop():
            case {"type": str(kind), "id": str(name)}:
                yield kind, name
            case dict(inner):
                todo.extend(inner.values())
            case list(inner):
                todo.extend(inner)
            case _:
                continue


def _entities(roster: Roster, resources: Resources) -> cedarpy.Entities:
    groups = {group: roster.members_of(group) for group in roster.groups}
    entities: list[dict[str, Any]] = [_entity("Group", group, []) for group in groups]
    # Nested groups are flattened here, by the same `members_of` that counts approvers: one meaning of membership.
    entities += [
        _entity(
            ENTITY_OF_KIND[member.kind],
            member.id,
            [("Group", g) for g, inside in groups.items() if member.id in inside],
        )
        for member in roster.members.values()
    ]
    entities += [
        _entity(
            ENTITY_OF_RESOURCE[resource.uri.type],
            resource.uri.name,
            [(ENTITY_OF_RESOURCE[parent.type], parent.name) for parent in resource.parents],
        )
        for resource in resources.by_uri.values()
    ]
    return cedarpy.Entities.from_json_str(json.dumps(entities), EVALUATION)


def _entity(kind: str, name: str, parents: list[tuple[str, str]]) -> dict[str, Any]:
    return {
        "uid": {"type": kind, "id": name},
        "attrs": {},
        "parents": [{"type": parent, "id": parent_name} for parent, parent_name in parents],
    }
