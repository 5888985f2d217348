"""Taken: the service, which hides what takes away, and whoever can reach a gate's port: what is pushed there only takes away."""

from __future__ import annotations

import os
import time

import pytest

from keyturn.adapters.over_http.http_client import HttpClient
from keyturn.formats import dsse, gate_answer
from keyturn.formats.digest import sha256
from keyturn.formats.dsse import Envelope
from keyturn.formats.gate_answer import GateObeys
from keyturn.formats.negatives import Suspension
from support.old_gate import approved
from support.taken_lab import GATE, TakenLab, authorization_of, code_of

pytestmark = [pytest.mark.xdist_group("takeover"), pytest.mark.timeout(300)]


def push(lab: TakenLab, envelope: Envelope | bytes) -> GateObeys:
    raw = envelope if isinstance(envelope, bytes) else dsse.render(envelope)
    return gate_answer.parse(HttpClient(lab.url("gate-release")).post("/negative", raw))[1]


def test_a_denial_that_the_service_never_gets_closes_the_gate(lab: TakenLab) -> None:
    asked, given = approved(lab)
    denial = lab.approval(asked, "dan", decision="deny", reason="the numbers are wrong")
    began = time.monotonic()
    said = push(lab, denial)
    assert time.monotonic() - began < 5
    assert (said.record, said.gate, said.acted) == (denial.record_digest, str(GATE), False)
    assert code_of(lambda: lab.release(asked, *given)) >= {"request-denied"}


def test_whoever_reaches_the_port_takes_nothing_away(lab: TakenLab) -> None:
    asked, given = approved(lab)
    gate_key = lab.stolen("gates/release/key")
    deny = {"decision": "deny", "reason": "no"}
    suspend = {"target_member": "bob", "until": int(time.time()) + 3600}
    carol = sha256(b"bob")
    attempts = {
        "forged with the gate's own key": (lab.approval(asked, "dan", key=gate_key, **deny), "signature-invalid"),
        "an agent's": (lab.approval(asked, "ada+coder", **deny), "signer-not-human"),
        "another lab's": (lab.approval(asked, "dan", lab="other.example", **deny), "lab-other"),
        "by somebody who is not of security": (
            lab.negative(Suspension, "ada", carol, **suspend),
            "suspension-not-allowed",
        ),
        "for ever": (
            lab.approval(asked, "dan", expires_at=int(time.time()) + 400 * 86400, **deny),
            "lives-too-long",
        ),
        "over": (
            lab.approval(asked, "dan", signed_at=1, expires_at=2, **deny),
            "pushed-over",
        ),
        "an approval": (given[0], "pushed-not-negative"),
    }
    for what, (envelope, code) in attempts.items():
        assert code in code_of(lambda: push(lab, envelope)), what
    assert code_of(lambda: push(lab, os.urandom(64)))
    assert authorization_of(given[0]).decision == "approve"
    assert lab.judged(lab.release(asked, *given)) == set(), "and the release goes through"


def test_whoever_denies_after_the_release_is_told_so(lab: TakenLab) -> None:
    asked, given = approved(lab)
    lab.release(asked, *given)
    said = lab.by("dan", "deny", f"req-{asked.record_digest[:32]}", "--reason", "too late", "--yes")
    assert [(one["in_force"], one["acted"]) for one in said["gates"]] == [(True, True)]
