"""Nobody signs blindly: what an approver is shown is computed from the log, before his key is used."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from keyturn.formats import statement
from keyturn.formats.access import ACCESS_REQUEST, AccessRequest
from support.taken_lab import MODEL, TakenLab, sign

pytestmark = [pytest.mark.xdist_group("takeover"), pytest.mark.timeout(300)]

WORDS = ("--as", str(MODEL), "--reason", "it is good", "--yes")


@pytest.fixture(scope="module")
def asked(lab: TakenLab) -> str:
    """A release that Ada asked for, and Bob approved."""
    name = str(lab.by("ada", "release", "model", *WORDS)["request"])
    lab.by("bob", "approve", name, "--reason", "the numbers hold", "--yes")
    return name


def test_an_approver_sees_what_the_evaluations_measured_and_who_asked_for_what(lab: TakenLab, asked: str) -> None:
    done = lab.run("carol", "approve", asked)  # nobody says yes
    assert (done.returncode, done.stdout) == (2, "")
    assert "evaluation PASSED: " in done.stderr
    assert "asked " in done.stderr
    assert "at log index" in done.stderr


def test_an_approver_sees_who_approved_before_and_why_and_what_is_missing(lab: TakenLab, asked: str) -> None:
    said = lab.run("carol", "approve", asked).stderr
    assert "the numbers hold" in said
    assert "missing: 1 of `security`" in said
    assert "who could still approve: carol" in said


def test_who_asks_sees_the_same_chain(lab: TakenLab) -> None:
    said = lab.run("ada", "release", "model", *WORDS).stderr
    assert "evaluation PASSED: " in said


def test_who_only_looks_sees_the_chain_too(lab: TakenLab, asked: str) -> None:
    assert "evaluation PASSED: " in lab.run("dan", "grant", "show", asked).stdout
    shown: Any = lab.by("dan", "grant", "show", asked)
    (result,) = shown["chain"]["evaluations"]
    assert result["passed"]
    assert result["asked_at_index"] < result["index"]
    assert [one["approver"] for one in shown["live"]["approvals"]] == ["bob"]


def test_with_json_each_line_of_standard_error_is_a_note_or_an_error(lab: TakenLab, asked: str) -> None:
    done = lab.run("carol", "approve", asked, "--json")
    *notes, error = [json.loads(line) for line in done.stderr.splitlines()]
    assert any("evaluation PASSED" in note["note"] for note in notes)
    assert error["error"]["code"] == "not-confirmed"


def test_a_request_to_release_what_has_no_chain_is_shown_and_denied_and_never_approved(lab: TakenLab) -> None:
    """Whoever asks for nonsense must not thereby keep others from ending it."""
    honest = statement.parse(lab.ask(submit=False).payload, AccessRequest, ACCESS_REQUEST)
    subjects = (honest.subject[0], msgspec.structs.replace(honest.subject[1], name="nothing of the kind"))
    payload = statement.make(honest.predicate, ACCESS_REQUEST, subjects)
    nonsense = sign(payload, lab.key("ada"))
    lab.submit(nonsense)
    name = f"req-{nonsense.record_digest[:32]}"
    assert lab.refused("bob", "approve", name, "--reason", "x", "--yes") == {"release-label"}
    assert lab.by("bob", "grant", "show", name)["live"]["state"] == "asked"
    assert lab.by("bob", "deny", name, "--reason", "nonsense", "--yes")["witnessed_at"]
    assert lab.by("bob", "grant", "show", name)["live"]["state"] == "denied"


def test_what_no_step_made_or_took_has_no_lineage(lab: TakenLab) -> None:
    assert lab.refused("dan", "lineage", "show", "dirHash:" + "5" * 64) == {"artifact-unknown"}
    code = lab.place / "work" / "source"
    assert lab.by("dan", "lineage", "show", code)["behind"] == [], "a source is known"


def test_a_check_up_of_a_running_lab_finds_its_processes(lab: TakenLab) -> None:
    found = {one["check"]: one for one in reversed(lab.by("ada", "doctor"))}
    for check in ("trust", "log", "witnesses", "you", "service", "witness-north", "builder", "gate-release"):
        assert found[check]["level"] == "ok", found[check]
    assert found["profile"]["level"] == "warning"
