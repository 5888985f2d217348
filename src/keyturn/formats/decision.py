"""One line of a gate's journal of decisions: what it was asked, by whom, and whether it let that through.

    {"action":"model:release","approvals":["<digest>",...],"approvers":["bob","carol"],"at":1790000000,"gate":"keyturn://...",
     "model":"dirHash:...","outcome":"granted","permit":"release","request":"<digest>","requester":"ada","resource":"keyturn://...",
     "sequence":7,"version":1}

Canonical JSON. `granted` says what the gate verified; of `refused` and `failed` (it could not find out) everything but `at`,
`code` and `reasons` is what the order claimed: whoever reaches the port can claim. `unsaid` counts refusals since the line
before that were too many to write down; `observed`: the gate only said so, and acted on nothing.
It is the gate's own memory, for its operator and his SIEM;
proof is the access-use in the log.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from keyturn.errors import Kind
from keyturn.formats import canonical_json
from keyturn.formats.text import PosixTime, Size

__all__ = ["NAMES_MAX", "REASONS_MAX", "TEXT_MAX", "Decision", "Outcome", "Why", "parse", "render"]

TEXT_MAX = 1024
REASONS_MAX = 16
NAMES_MAX = 64

Outcome = Literal["granted", "refused", "failed"]
Text = Annotated[str, Meta(max_length=TEXT_MAX)]


class Why(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One reason: an error's code, and its public text."""

    code: Text
    text: Text


class Decision(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a gate decided. Empty where the order did not say."""

    version: Literal[1]
    sequence: Size
    at: PosixTime
    gate: Text
    outcome: Outcome
    request: Text = ""
    requester: Text = ""
    beneficiary: Text = ""
    action: Text = ""
    resource: Text = ""
    permit: Text = ""
    model: Text = ""
    approvals: Annotated[tuple[Text, ...], Meta(max_length=NAMES_MAX)] = ()
    approvers: Annotated[tuple[Text, ...], Meta(max_length=NAMES_MAX)] = ()
    kind: Kind | None = None
    code: Text = ""
    reasons: Annotated[tuple[Why, ...], Meta(max_length=REASONS_MAX)] = ()
    unsaid: Size = 0
    observed: bool = False


def parse(raw: bytes) -> Decision:
    """Parse one line without its end, or raise `Malformed`."""
    return canonical_json.decode(raw, Decision, what="decision")


def render(value: Decision) -> bytes:
    """Render the canonical text of `value`, without a line end."""
    return canonical_json.encode(value)
