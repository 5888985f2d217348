"""What OpenID AuthZEN's Authorization API 1.0 and its Access Request and Approval Profile (draft 1) say over the wire.

Members that are not known are ignored, as AuthZEN asks; everything else is bounded here. Times are RFC 3339 texts, on this wire
alone.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

__all__ = [
    "Approval",
    "Context",
    "Decision",
    "Denial",
    "Evaluation",
    "Metadata",
    "Reason",
    "Requestable",
    "Result",
    "Status",
    "Submission",
    "Task",
    "TaskAnswer",
]

_Text = Annotated[str, Meta(min_length=1, max_length=1024)]
Status = Literal["pending", "approved", "denied", "expired", "cancelled"]


class _Open(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Unknown members are ignored; absent ones are left out."""


class Subject(_Open, frozen=True, kw_only=True):
    """`{"type":"member","id":"ada"}`."""

    type: _Text
    id: _Text


class Action(_Open, frozen=True, kw_only=True):
    """`{"name":"model:release"}`."""

    name: _Text


class Resource(_Open, frozen=True, kw_only=True):
    """`{"type":"model","id":"keyturn://acme.example/model/aurora"}`."""

    type: _Text
    id: _Text


class Approval(_Open, frozen=True, kw_only=True):
    """Which approval completed a task. Its `id` is a request's, which everybody in the lab may know: it grants nothing."""

    id: _Text
    approved_until: str = ""


class _Asked(_Open, frozen=True, kw_only=True):
    approval: Approval | None = None


class Evaluation(_Open, frozen=True, kw_only=True):
    """May `subject` do `action` to `resource` now?"""

    subject: Subject
    action: Action
    resource: Resource
    context: _Asked | None = None


class Requestable(_Open, frozen=True, kw_only=True):
    """Where a denied access can be asked for, and until when this offer stands. `template` is a permit of the policy."""

    endpoint: str
    expires_at: str
    template: str


class Reason(_Open, frozen=True, kw_only=True):
    """One reason of a no."""

    code: str
    detail: str


class Context(_Open, frozen=True, kw_only=True):
    """What stands behind a decision. `reason` is the first of `reasons`, or one of the profile's for a re-evaluation."""

    evaluated_at: str
    profile: str
    reason: str | None = None
    reasons: tuple[Reason, ...] = ()
    evaluation_id: str | None = None
    access_request: Requestable | None = None
    approval: Approval | None = None
    next_action: Literal["request", "retry", "none"] | None = None


class Decision(_Open, frozen=True, kw_only=True):
    """Yes or no. A no with `access_request` is a no."""

    decision: bool
    context: Context


class Denial(_Open, frozen=True, kw_only=True):
    """The denied evaluation that a submission answers, echoed."""

    evaluation_id: _Text
    expires_at: _Text


class Signed(_Open, frozen=True, kw_only=True):
    """`signed_request`: the access request's DSSE envelope, base64. Its signature is what authenticates the submission."""

    signed_request: Annotated[bytes, Meta(max_length=64 * 1024)]


class Submission(_Open, frozen=True, kw_only=True):
    """Ask for what was denied."""

    subject: Subject
    action: Action
    resource: Resource
    context: Signed
    denial: Denial


class Task(_Open, frozen=True, kw_only=True):
    """How a request stands. A status that a client does not know is not an approval."""

    id: str
    status: Status
    status_endpoint: str
    expires_at: str | None = None


class Result(_Open, frozen=True, kw_only=True):
    """What to do with an approved task: evaluate again, with `approval` in the context."""

    mode: Literal["reevaluate"]
    approval: Approval


class TaskAnswer(_Open, frozen=True, kw_only=True):
    """A task, and once it is approved its result."""

    task: Task
    result: Result | None = None


class Metadata(_Open, frozen=True, kw_only=True):
    """What this policy decision point offers, and where."""

    policy_decision_point: str
    access_evaluation_endpoint: str
    access_request_endpoint: str
    capabilities: tuple[str, ...]
