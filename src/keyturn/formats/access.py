"""Predicates of giving: access request, human authorization, access use, and the gate's check-in.

A request with `break_glass_at` is a break-glass request, and a use with `break_glass` is by one, and of a kind of its own.

Predicate types `https://keyturn.dev/<name>/v1`; normative page docs/formats/records.md. Every record carries the lab
and a nonce, and names its signer and key; the signature must be by that key. A record's id is its kind and the first
32 hex digits of the SHA-256 of its payload: `req-...`, `apr-...`, `den-...`, `use-...`, `brk-...`, `chk-...`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from keyturn.formats.database_terms import DatabaseTerms
from keyturn.formats.session_terms import SessionTerms
from keyturn.formats.text import (
    HexDigest,
    KeyId,
    LabName,
    MemberId,
    Name,
    Nonce,
    PosixTime,
    Size,
    check_free_text,
)
from keyturn.formats.uri import Uri

__all__ = [
    "ACCESS_REQUEST",
    "ACCESS_USE",
    "BREAK_GLASS_MAX_S",
    "GATE_CHECKIN",
    "HUMAN_AUTHORIZATION",
    "REPLAY",
    "AccessRequest",
    "AccessUse",
    "BreakGlass",
    "GateCheckin",
    "HumanAuthorization",
]

ACCESS_REQUEST = "https://keyturn.dev/access-request/v1"
HUMAN_AUTHORIZATION = "https://keyturn.dev/human-authorization/v1"
ACCESS_USE = "https://keyturn.dev/access-use/v1"
GATE_CHECKIN = "https://keyturn.dev/gate-checkin/v1"

REPLAY = "host:replay"
"""The action whose subject is a recording of a session (`grants.replay`)."""

BREAK_GLASS_MAX_S = 3600
"""How long after its signature a break-glass request is over, at the latest."""

Action = Annotated[str, Meta(pattern=r"\A[a-z][a-z0-9-]{0,30}:[a-z][a-z0-9-]{0,30}\Z")]
"""`<resource type>:<verb>`, as `host:shell`, `weights:read`, `model:release`."""


class AccessRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Ask for one action on one resource at one gate, by one permit of the policy, for a stated reason.

    `session_key` is the base64 SPKI DER of the key that the session will prove (absent for one-shots); times are
    POSIX seconds; `follows` is the digest of the request that this one renews or counters. `break_glass_at` is when a break-glass
    request was signed, and is absent in every other: such a request is over within `BREAK_GLASS_MAX_S` of it.
    `urgent` says how people are told of it, and weighs nothing. `session` is what a session on a host may do beyond a shell,
    `database` what one in a database is held to.
    """

    lab: LabName
    nonce: Nonce
    requester: MemberId
    key: KeyId
    beneficiary: MemberId
    action: Action
    resource: str
    permit: Name
    gate: str
    justification: str
    ticket: str = ""
    not_before: PosixTime
    start_by: PosixTime
    not_after: PosixTime
    duration_s: Annotated[int, Meta(ge=1, le=30 * 86400)]
    trust_version: Annotated[int, Meta(ge=1, le=2**31)]
    session_key: Annotated[str, Meta(max_length=400)] | None = None
    bytes_max: Size | None = None
    follows: HexDigest | None = None
    break_glass_at: PosixTime | None = None
    urgent: bool = False
    session: SessionTerms | None = None
    database: DatabaseTerms | None = None

    def __post_init__(self) -> None:
        Uri.parse(self.resource)
        Uri.parse(self.gate)
        check_free_text(self.justification, what="justification")
        check_free_text(self.ticket, what="ticket", size_bytes_max=200)
        if not self.justification.strip():
            raise ValueError("expected a justification, got an empty one")
        if not self.not_before <= self.start_by <= self.not_after:
            raise ValueError("expected not_before <= start_by <= not_after")
        if self.break_glass_at is not None and not 0 <= self.not_after - self.break_glass_at <= BREAK_GLASS_MAX_S:
            raise ValueError(
                f"expected a break-glass request to be over within {BREAK_GLASS_MAX_S} s of break_glass_at"
            )
        if self.session is not None and (not self.action.startswith("host:") or self.action == REPLAY):
            raise ValueError("expected terms of a session with an action that opens one on a host")
        if self.session is not None and self.session.bastion is not None:
            if self.session_key is None or self.session.bastion.key == self.session_key:
                raise ValueError("expected a session key beside the bastion's, and another one")
            if self.session.bastion.gate == self.gate:
                raise ValueError("expected a bastion in front of the host's gate, got that gate itself")
            if self.break_glass_at is not None:
                raise ValueError(
                    "expected break-glass without a bastion: an emergency waits for nothing more than the host"
                )
        if self.database is not None and not self.action.startswith("db:"):
            raise ValueError("expected terms of a database with an action on one alone")


class HumanAuthorization(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Approve or deny one request, as one human. A denial stands until `expires_at`, and one ends the request."""

    lab: LabName
    nonce: Nonce
    approver: MemberId
    key: KeyId
    request: HexDigest
    trust_version: Annotated[int, Meta(ge=1, le=2**31)]
    decision: Literal["approve", "deny"]
    reason: str = ""
    signed_at: PosixTime
    expires_at: PosixTime

    def __post_init__(self) -> None:
        check_free_text(self.reason, what="reason")
        if self.decision == "deny" and not self.reason.strip():
            raise ValueError("expected a reason for the denial, got none")
        if self.expires_at <= self.signed_at:
            raise ValueError("expected expires_at after signed_at")


class BreakGlass(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Whom and what a break-glass use locks until it is reviewed, and who agreed to it.

    `members` are the requester, the beneficiary, and every human who answers for an agent or workload among them. The request may
    come into the log long after the use, or be forgotten by gates before: so the use says it itself.
    """

    members: Annotated[tuple[MemberId, ...], Meta(min_length=1, max_length=40)]
    approvers: Annotated[tuple[MemberId, ...], Meta(min_length=1, max_length=64)]
    resource: str

    def __post_init__(self) -> None:
        Uri.parse(self.resource)
        for named in (self.members, self.approvers):
            if list(named) != sorted(set(named)):
                raise ValueError("expected members and approvers sorted, each once")


class AccessUse(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Say, as a gate, that a grant was used: the request and exactly the approvals that opened the gate."""

    lab: LabName
    nonce: Nonce
    gate: str
    key: KeyId
    request: HexDigest
    approvals: Annotated[tuple[HexDigest, ...], Meta(max_length=64)]
    used_at: PosixTime
    break_glass: BreakGlass | None = None

    def __post_init__(self) -> None:
        Uri.parse(self.gate)
        if len(set(self.approvals)) != len(self.approvals):
            raise ValueError("expected each approval once")


class GateCheckin(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Put a gate's fresh nonce into the log: a view without it is older than the gate, and is not believed.

    `observes`: the gate holds nobody up, and only says what it would decide."""

    lab: LabName
    nonce: Nonce
    gate: str
    key: KeyId
    signed_at: PosixTime
    observes: bool = False

    def __post_init__(self) -> None:
        Uri.parse(self.gate)
