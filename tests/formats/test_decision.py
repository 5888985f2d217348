"""A gate's decisions: one text for each, and what they are in OCSF, held against OCSF's own schema."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import jsonschema
import msgspec
import pytest
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from keyturn.errors import Malformed
from keyturn.formats import decision, ocsf
from keyturn.formats.decision import Decision, Why

GRANTED = Decision(
    version=1,
    sequence=7,
    at=1_790_000_000,
    gate="keyturn://acme.example/gate/release",
    outcome="granted",
    request="a" * 64,
    requester="ada",
    beneficiary="ada",
    action="model:release",
    resource="keyturn://acme.example/model/toy",
    permit="release",
    model="dirHash:" + "1" * 64,
    approvals=("b" * 64, "c" * 64),
    approvers=("bob", "carol"),
)
REFUSED = msgspec.structs.replace(
    GRANTED,
    sequence=8,
    outcome="refused",
    approvals=(),
    approvers=(),
    kind="refused",
    code="quorum-not-met",
    reasons=(Why(code="quorum-not-met", text="got 0 of 2 approvals"), Why(code="x", text="\x1b[31m\u202ered")),
    unsaid=3,
)
NOTHING = Decision(
    version=1, sequence=9, at=0, gate=GRANTED.gate, outcome="failed", kind="unavailable", code="no-answer"
)
TAMPERED = msgspec.structs.replace(REFUSED, kind="tampered", code="log-other-leaves")
UNREAD = msgspec.structs.replace(NOTHING, outcome="refused", kind="malformed")
OBSERVED = msgspec.structs.replace(GRANTED, observed=True)
ALL = {
    "granted": GRANTED,
    "refused": REFUSED,
    "nothing could be read": NOTHING,
    "tampered": TAMPERED,
    "unread": UNREAD,
    "observed": OBSERVED,
}


@cache
def schema() -> dict[str, Any]:
    made = OcsfJsonSchemaEmbedded(get_ocsf_schema("1.8.0")).get_class_schema("authorize_session", ["security_control"])
    return dict(made)


@pytest.mark.parametrize("one", ALL.values(), ids=ALL)
def test_a_decision_survives_its_text(one: Decision) -> None:
    assert decision.parse(decision.render(one)) == one


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(b'"version":1', b'"version":2', id="another version"),
        pytest.param(b'"granted"', b'"waved through"', id="another outcome"),
        pytest.param(b'"sequence":7', b'"sequence":-7', id="no number"),
        pytest.param(b'"permit"', b'"permits"', id="an unknown field"),
    ],
)
def test_another_line_is_no_decision(old: bytes, new: bytes) -> None:
    raw = decision.render(GRANTED)
    assert old in raw
    with pytest.raises(Malformed):
        decision.parse(raw.replace(old, new))


@pytest.mark.parametrize("one", ALL.values(), ids=ALL)
def test_an_event_is_what_ocsf_says_an_authorize_session_event_is(one: Decision) -> None:
    jsonschema.validate(json.loads(ocsf.event(one, version="0.1.0")), schema())


def test_ocsfs_schema_would_refuse_another_attribute() -> None:
    made = json.loads(ocsf.event(GRANTED, version="0.1.0"))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(made | {"keyturn": 1}, schema())


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("granted", (1, 1, 1)),
        ("refused", (2, 2, 2)),
        ("nothing could be read", (3, 2, 2)),
        ("tampered", (4, 2, 2)),
        ("unread", (2, 2, 2)),
    ],
)
def test_severity_status_and_action(name: str, wanted: tuple[int, int, int]) -> None:
    made = json.loads(ocsf.event(ALL[name], version="0.1.0"))
    assert (made["severity_id"], made["status_id"], made["action_id"]) == wanted
    assert made["type_uid"] == made["class_uid"] * 100 + made["activity_id"] == 300301


def test_what_a_gate_only_observed_is_said_so() -> None:
    found = json.loads(ocsf.event(OBSERVED, version="1"))
    assert (found["action"], found["disposition"]) == ("Observed", "No Action")
    assert found["message"].startswith("observing, it would have: granted")


def test_a_grant_says_who_asked_who_agreed_and_that_it_was_verified() -> None:
    made = json.loads(ocsf.event(GRANTED, version="0.1.0"))
    assert made["user"]["name"] == "ada"
    assert made["unmapped"]["approvers"] == ["bob", "carol"]
    assert made["unmapped"]["claims_verified"] is True
    assert made["metadata"]["correlation_uid"] == f"req-{'a' * 32}"
    assert made["metadata"]["uid"] == "keyturn://acme.example/gate/release#7"
    assert made["time"] == 1_790_000_000_000


def test_a_refusal_says_why_that_it_only_repeats_claims_and_how_many_were_not_written_down() -> None:
    made = json.loads(ocsf.event(REFUSED, version="0.1.0"))
    assert made["status_code"] == "quorum-not-met"
    assert made["status_detail"] == "got 0 of 2 approvals [quorum-not-met]; \\x1b[31m\\u202ered [x]"
    assert made["unmapped"]["claims_verified"] is False
    assert made["unmapped"]["refusals_not_written_down"] == 3
