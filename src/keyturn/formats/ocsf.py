"""Say a gate's decision as an OCSF 1.8 event, one JSON object: class Authorize Session (3003), profile `security_control`.

https://schema.ocsf.io/1.8.0/classes/authorize_session. A gate assigns one privilege for one act, or does not: activity 1 (Assign
Privileges), status 1 or 2, action 1 (Allowed) or 2 (Denied). API Activity asks for the caller's address, which a gate behind a
proxy does not know, and User Access Management is about standing privileges, which nobody has here.

What has no attribute there is in `unmapped`. Every text is made plain: a SIEM shows it in somebody's browser or terminal.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from keyturn.formats.decision import Decision
from keyturn.formats.plain_text import plain

__all__ = ["SEVERITY", "event", "severity"]

_SCHEMA = "1.8.0"
_CLASS, _ACTIVITY = 3003, 1
SEVERITY: Mapping[int, str] = MappingProxyType({1: "Informational", 2: "Low", 3: "Medium", 4: "High"})


def severity(decision: Decision) -> int:
    """OCSF's severity: 1 granted, 2 refused, 3 could not find out, 4 evidence that something was altered."""
    if decision.outcome == "granted":
        return 1
    if decision.kind == "tampered":
        return 4
    return 3 if decision.outcome == "failed" else 2


def event(decision: Decision, *, version: str) -> bytes:
    """Render `decision` as one line without its end; `version` is Keyturn's."""
    granted = decision.outcome == "granted"
    level = severity(decision)
    lab = decision.gate.removeprefix("keyturn://").split("/", 1)[0]
    user = {
        "name": decision.requester or "unknown",
        "uid": decision.requester or "unknown",
        "type_id": 1 if granted else 0,
    }
    said: dict[str, Any] = {
        "class_uid": _CLASS,
        "class_name": "Authorize Session",
        "category_uid": 3,
        "category_name": "Identity & Access Management",
        "activity_id": _ACTIVITY,
        "activity_name": "Assign Privileges",
        "type_uid": _CLASS * 100 + _ACTIVITY,
        "type_name": "Authorize Session: Assign Privileges",
        "time": decision.at * 1000,
        "severity_id": level,
        "severity": SEVERITY[level],
        "status_id": 1 if granted else 2,
        "status": "Success" if granted else "Failure",
        **_acted(decision),
        "message": _message(decision),
        "user": user,
        "actor": {"app_name": decision.gate},
        "privileges": [decision.action or "unknown"],
        "metadata": {
            "version": _SCHEMA,
            "profiles": ["security_control"],
            "product": {
                "name": "Keyturn",
                "vendor_name": "Keyturn",
                "version": version,
            },
            "uid": f"{decision.gate}#{decision.sequence}",
            "sequence": decision.sequence,
            "event_code": decision.outcome,
            "log_provider": decision.gate,
            "tenant_uid": lab,
        },
        "unmapped": _unmapped(decision),
    }
    if decision.request:
        said["metadata"]["correlation_uid"] = f"req-{decision.request[:32]}"
    if decision.permit:
        said["authorizations"] = [{"decision": decision.outcome, "policy": {"name": decision.permit}}]
    if decision.code:
        said["status_code"] = decision.code
        said["status_detail"] = "; ".join(f"{why.text} [{why.code}]" for why in decision.reasons)
    return msgspec.json.encode(_plain(said))


def _acted(decision: Decision) -> dict[str, Any]:
    if decision.observed:
        return {"action_id": 3, "action": "Observed", "disposition_id": 16, "disposition": "No Action"}
    if decision.outcome == "granted":
        return {"action_id": 1, "action": "Allowed", "disposition_id": 1, "disposition": "Allowed"}
    return {"action_id": 2, "action": "Denied", "disposition_id": 2, "disposition": "Blocked"}


def _message(decision: Decision) -> str:
    asked = f"{decision.action or 'an order'} of {decision.resource or 'nothing that could be read'}"
    observed = "observing, it would have: " if decision.observed else ""
    if decision.outcome == "granted":
        return f"{observed}granted {asked} to {decision.requester}, approved by {', '.join(decision.approvers)}"
    verb = "refused" if decision.outcome == "refused" else "could not decide on"
    return f"{observed}{verb} {asked}, asked as {decision.requester or 'nobody'}: {decision.code}"


def _unmapped(decision: Decision) -> dict[str, Any]:
    known = {
        "request": decision.request,
        "beneficiary": decision.beneficiary,
        "resource": decision.resource,
        "model": decision.model,
        "approvals": list(decision.approvals),
        "approvers": list(decision.approvers),
        "error_kind": decision.kind,
        "refusals_not_written_down": decision.unsaid,
    }
    return {"claims_verified": decision.outcome == "granted", **{name: value for name, value in known.items() if value}}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return plain(value) if isinstance(value, str) else value
