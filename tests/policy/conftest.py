"""Values that the tests of policy share: a lab with a policy, and requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from keyturn.formats.access import AccessRequest
from keyturn.policy.load import Policy, load
from support.labs import NOW, Lab, make_lab

WEIGHTS = """
@id("weights-read") @quorum("1 weights-owners + 1 security") @duration_max("2h") @pending_max("8h")
permit (principal in Group::"research", action == Action::"weights:read", resource in Model::"aurora");
"""


def a_lab(policy: str = WEIGHTS, **more: object) -> Lab:
    """Ada and dan research, bob and cat are security, cat and eve own weights; ada answers for an agent."""
    arguments: dict[str, object] = {
        "humans": ("ada", "bob", "cat", "dan", "eve"),
        "agents": {"ada+coder": ("ada",), "bob+ops": ("bob", "dan")},
        "groups": {
            "research": ("ada", "dan", "ada+coder"),
            "security": ("bob", "cat"),
            "weights-owners": ("cat", "eve"),
        },
        "nested_groups": {} if "groups" in more else {"everyone": ("research", "security", "weights-owners")},
        "resources": {
            "model/aurora": (),
            "model/aurora-7b": ("model/aurora",),
            "model/other": (),
            "host/gpu1": (),
            "db/main": (),
        },
        "policy": {"main": policy},
    }
    return make_lab(**{**arguments, **more})  # type: ignore[arg-type]  # keywords of make_lab, with defaults of ours


@pytest.fixture(scope="session")
def policy_of() -> Callable[..., Policy]:
    """Load a policy text in the lab of these tests."""

    def make(text: str = WEIGHTS, **more: object) -> Policy:
        return load(a_lab(text, **more).state)

    return make


@pytest.fixture(scope="session")
def ask() -> Callable[..., AccessRequest]:
    """A request by ada for aurora's weights, with what is given changed."""

    def make(**changed: object) -> AccessRequest:
        values: Mapping[str, object] = {
            "lab": "acme.example",
            "nonce": "0" * 32,
            "requester": "ada",
            "key": "0" * 64,
            "beneficiary": changed.get("requester", "ada"),
            "action": "weights:read",
            "resource": "keyturn://acme.example/model/aurora",
            "permit": "weights-read",
            "gate": "keyturn://acme.example/gate/release",
            "justification": "a look at the loss",
            "not_before": NOW,
            "start_by": NOW + 3600,
            "not_after": NOW + 7200,
            "duration_s": 3600,
            "trust_version": 1,
            **changed,
        }
        return AccessRequest(**values)  # type: ignore[arg-type]  # the table above, field by field

    return make
