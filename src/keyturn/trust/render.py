"""Render target files, as `trust.target_files` reads them, in one stable form that diffs well.

People edit these files by hand too; nothing requires that they stay in this form.
"""

from __future__ import annotations

from typing import Any

import msgspec
import tomli_w

from keyturn.formats import base64_text
from keyturn.trust.attestation import AttestationRules
from keyturn.trust.keyholders import Keyholders
from keyturn.trust.outside import render_outside
from keyturn.trust.roster import TOMBSTONE_SIGNERS_MIN, Builder, Gate, Limits, Log, Resources, Roster
from keyturn.trust.targets import Contents

__all__ = ["render_contents"]


def render_contents(contents: Contents) -> dict[str, bytes]:
    """Render every target file; `parse_contents(render_contents(x)) == x`."""
    files = {
        "roster.toml": _roster(contents.roster),
        "resources.toml": _resources(contents.resources),
        "gates.toml": _gates(tuple(contents.gates.values())) | _recordings(contents.recordings),
        "builders.toml": _builders(tuple(contents.builders.values())),
        "log.toml": _log(contents.log, contents.log_operator, contents.void),
        "limits.toml": _limits(contents.limits),
    }
    if contents.outside:
        files["evidence.toml"] = render_outside(contents.outside.values())
    rendered = {name: tomli_w.dumps({"version": 1} | table).encode("utf-8") for name, table in files.items()}
    return rendered | {name: text.encode("utf-8") for name, text in contents.policy}


def _roster(roster: Roster) -> dict[str, Any]:
    pages = [
        {"origin": page.origin, "rp_id": page.rp_id} | ({"operator": page.operator} if page.operator else {})
        for page in roster.signing
    ]
    asked = {} if roster.attestation is None else {"attestation": _attestation(roster.attestation)}
    return (
        ({"signing": pages} if pages else {})
        | asked
        | {
            "members": [
                {"id": m.id, "kind": m.kind, "name": m.name}
                | ({"responsible": sorted(m.responsible)} if m.responsible else {})
                | {"keys": [msgspec.to_builtins(held.enrolled) for held in m.keys]}
                for m in roster.members.values()
            ],
            "groups": [
                {"name": g.name, "members": sorted(g.members)} | ({"groups": sorted(g.groups)} if g.groups else {})
                for g in roster.groups.values()
            ],
        }
    )


def _attestation(rules: AttestationRules) -> dict[str, Any]:
    listed = [
        {"aaguid": one.aaguid, "name": one.name, "roots": [base64_text.encode(root) for root in one.roots]}
        for one in rules.authenticators.values()
    ]
    return {"required": rules.required} | ({"authenticators": listed} if listed else {})


def _resources(resources: Resources) -> dict[str, Any]:
    return {
        "resources": [
            {"uri": str(r.uri)} | ({"parents": [str(parent) for parent in r.parents]} if r.parents else {})
            for r in resources.by_uri.values()
        ]
    }


def _gates(gates: tuple[Gate, ...]) -> dict[str, Any]:
    return {"gates": [{"uri": str(g.uri), "kind": g.kind, "public": g.key.text, "operator": g.operator} for g in gates]}


def _recordings(said: Keyholders | None) -> dict[str, Any]:
    if said is None:
        return {}
    listed = [{"human": one.human, "public": base64_text.encode(one.spki)} for one in said.holders]
    return {"recordings": {"quorum": said.quorum, "keyholders": listed}}


def _builders(builders: tuple[Builder, ...]) -> dict[str, Any]:
    return {
        "builders": [
            {"id": b.id, "public": b.key.text, "level_max": b.level_max, "operator": b.operator} for b in builders
        ]
    }


def _log(log: Log, operator: str, void: tuple[range, ...]) -> dict[str, Any]:
    return {
        "origin": log.origin,
        "public": log.key.text,
        "operator": operator,
        "lying_max": log.lying_max,
        "witnesses": [{"name": w.name, "public": w.key.text, "operator": w.operator} for w in log.witnesses],
    } | ({"void": [{"first": one.start, "last": one.stop - 1} for one in void]} if void else {})


def _limits(limits: Limits) -> dict[str, Any]:
    return {
        "log_age_max_s": limits.log_age_max_s,
        "clock_skew_max_s": limits.clock_skew_max_s,
        "negative_lifetime_max_s": limits.negative_lifetime_max_s,
        "suspension_max_s": limits.suspension_max_s,
        "breakglass_view_age_max_s": limits.breakglass_view_age_max_s,
    } | _said(limits)


def _said(limits: Limits) -> dict[str, Any]:
    """What a lab says only where it wants more than everybody has."""
    signers, version = limits.tombstone_signers, limits.version_min
    return ({} if signers == TOMBSTONE_SIGNERS_MIN else {"tombstone_signers": signers}) | (
        {} if version is None else {"version_min": version}
    )
