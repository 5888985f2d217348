"""Requests, approvals and what takes them away, by the command line, against a witness and a lab's service that run."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import urllib3

from keyturn.crypto.signers import SoftwareKey
from keyturn.grants import bundle as bundles
from support.commands import KEYTURN
from support.members import POLICY, RESOURCES, People
from support.processes import running, wait_for, wait_for_file


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[People]:
    found = People(tmp_path_factory.mktemp("grants"))
    init = ("init", "lab", "--profile", "demo", "--name", "acme.example", "--member", "ada", "--full-name", "Ada")
    found.by("ada", *init, "--group", "research", "--witness", "north")
    for member, more in (
        ("bob", ("--new-group", "security")),
        ("cat", ("--group", "security")),
        ("ada+coder", ("--kind", "agent", "--responsible", "ada", "--group", "research")),
    ):
        found.by("ada", "trust", "invite", member, *more)
        found.by(member, "trust", "accept", f"{member}.invitation.json", "--full-name", member)
    draft = found.lab / "trust" / "draft"
    (draft / "policy").mkdir(exist_ok=True)
    (draft / "policy" / "main.cedar").write_text(POLICY)
    (draft / "resources.toml").write_text(RESOURCES)
    accepted = [
        word for member in ("bob", "cat", "ada+coder") for word in ("--acceptance", f"{member}.acceptance.json")
    ]
    found.by("ada", "trust", "propose", *accepted)
    for member in ("ada", "bob"):
        found.by(member, "trust", "sign", "--yes")
    found.by("ada", "trust", "publish")
    pin = hashlib.sha256((found.lab / "trust" / "root.json").read_bytes()).hexdigest()
    for member in ("ada", "bob", "cat", "ada+coder"):
        found.by(member, "trust", "pin", pin)
    served = {"KEYTURN_HOME": str(found.place / "ada")}
    run = found.lab / "run"
    with running([*KEYTURN, "witness", "serve", "north", "--lab", found.lab], environment=served) as witness:
        wait_for_file(run / "witness-north.json", witness)
        with running([*KEYTURN, "serve", "--lab", found.lab], environment=served) as log:
            wait_for_file(run / "service.json", log)
            wait_for_file(found.lab / "log" / "checkpoint", log)
            with running([*KEYTURN, "gate", "serve", "--lab", found.lab], environment=served) as gate:
                wait_for_file(run / "gate-release.json", gate)
                yield found


def asked(people: People, member: str = "ada") -> str:
    words = ("weights:read", "model/aurora", "--gate", "gate/release", "--reason", "a look", "--duration", "30m")
    session = SoftwareKey.generate().public.text
    return str(people.by(member, "request", *words, "--session-key", session, "--yes")["id"])


def test_a_program_asks_the_service_whether_somebody_may(people: People) -> None:
    url = json.loads((people.lab / "run" / "service.json").read_text())["url"]
    where = urllib3.request("GET", f"{url}/.well-known/authzen-configuration").json()
    assert where["policy_decision_point"] == url

    def may(member: str) -> bool:
        resource = {"type": "model", "id": "keyturn://acme.example/model/aurora"}
        asked = {
            "subject": {"type": "member", "id": member},
            "action": {"name": "weights:read"},
            "resource": resource,
        }
        said = urllib3.request("POST", where["access_evaluation_endpoint"], json=asked).json()
        return said["decision"] is True

    assert not may("ada+coder")
    request = asked(people, "ada+coder")
    people.by("bob", "approve", request, "--yes")
    wait_for("the service to follow the log", lambda: may("ada+coder") or None)
    assert not may("cat")
    people.by("cat", "grant", "revoke", request, "--reason", "enough", "--yes")
    wait_for("the service to follow the log", lambda: not may("ada+coder") or None)


def test_a_request_is_approved_by_a_coworker_and_bundled_for_a_gate(people: People) -> None:
    request = asked(people)
    assert people.refused("ada+coder", "approve", request, "--yes") == "approver-not-human"
    assert people.refused("ada", "approve", request, "--yes") == "approver-concerned"
    assert people.by("ada", "grant", "explain", request)["could_approve"] == ["bob", "cat"]
    done = people.run("bob", "approve", request[:12], "--yes")
    assert done.returncode == 0, done.stderr
    assert "in force (profile: demo)" in done.stdout
    for said in ("a look", "keyturn://acme.example/model/aurora", "1800 s"):
        assert said in done.stderr, "the request is shown whole before it is signed"
    (live,) = [one for one in people.by("cat", "grant", "list") if one["id"] == request]
    assert (live["state"], live["approvers"]) == ("open", ["bob"])
    people.by("cat", "grant", "bundle", request, "--out", "b.json")
    assert len(bundles.parse((people.place / "b.json").read_bytes()).authorizations) == 1
    assert "approved by" in people.run("cat", "grant", "show", request).stdout


def test_who_is_in_the_lab_is_listed_with_groups_and_keys_at_its_directory_and_from_afar(people: People) -> None:
    url = json.loads((people.lab / "run" / "service.json").read_text())["url"]
    here, afar = people.by("cat", "trust", "members"), people.by("cat", "trust", "members", "--lab", url)
    assert here == afar
    assert [one["id"] for one in here["members"]] == ["ada", "ada+coder", "bob", "cat"]
    coder = here["members"][1]
    assert (coder["kind"], coder["groups"], coder["responsible"]) == ("agent", ["research"], ["ada"])
    assert [key["kind"] for key in coder["keys"]] == ["software"]
    assert here["publishers"] == ["ada", "bob", "cat"]
    assert re.search(
        r"^cat +human +security +- +software [0-9a-f]{16}$", people.run("bob", "trust", "members").stdout, re.MULTILINE
    )


def test_several_requests_are_approved_each_by_a_signature_of_its_own(people: People) -> None:
    requests = [asked(people) for _ in range(2)]
    assert people.refused("bob", "approve", *requests, requests[0], "--yes", status=2) == "request-twice"
    assert people.refused("bob", "approve", *requests, "req-00000000", "--yes") == "request-unknown"
    for request in requests:
        assert people.by("bob", "grant", "show", request)["live"]["approvers"] == [], "a slip in one signs none"
    done = people.by("bob", "approve", *requests, "--yes")
    assert len({one["digest"] for one in done}) == 2
    for request in requests:
        assert people.by("bob", "grant", "show", request)["live"]["approvers"] == ["bob"]


def test_what_was_signed_is_said_though_the_next_was_not(people: People) -> None:
    requests = [asked(people) for _ in range(2)]
    terminal, there = pty.openpty()
    try:
        os.write(terminal, b"y\nn\n")
        done = subprocess.run(
            [*KEYTURN, "approve", *requests, "--json"],
            cwd=people.place,
            env={**os.environ, "KEYTURN_HOME": str(people.place / "bob"), "KEYTURN_LAB": str(people.lab)},
            stdin=there,
            capture_output=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(terminal)
        os.close(there)
    assert (done.returncode, b"not-confirmed" in done.stderr) == (2, True)
    assert [one["id"][:4] for one in json.loads(done.stdout)] == ["apr-"]
    for request, approvers in zip(requests, (["bob"], []), strict=True):
        assert people.by("bob", "grant", "show", request)["live"]["approvers"] == approvers


def test_nothing_is_signed_without_a_yes(people: People) -> None:
    request = asked(people)
    assert people.run("bob", "approve", request).returncode == 2
    assert people.by("bob", "grant", "show", request)["live"]["approvers"] == []


def test_one_human_denies_and_another_revokes_and_the_requester_withdraws(people: People) -> None:
    for member, words, state in (
        ("cat", ("deny", "--reason", "not now"), "denied"),
        ("bob", ("grant", "revoke", "--reason", "enough"), "revoked"),
        ("ada", ("grant", "withdraw"), "revoked"),
    ):
        request = asked(people)
        assert people.by(member, *words, request, "--yes")["witnessed_at"] > 0
        assert people.by("cat", "grant", "show", request)["live"]["state"] == state
    assert people.refused("bob", "grant", "withdraw", asked(people), "--yes") == "withdraw-other"
    again = people.run("cat", "grant", "revoke", request, "--reason", "enough", "--yes")
    assert (again.returncode, "over already: ada revoked it: no longer needed" in again.stderr) == (0, True), (
        again.stderr
    )


def test_who_is_suspended_withdraws_nothing_and_is_told_so(people: People) -> None:
    request = asked(people)
    words = ("trust", "suspend", "--member", "ada", "--reason", "laptop lost", "--yes")
    suspension = people.by("cat", *words)["id"]
    assert people.refused("ada", "grant", "withdraw", request, "--yes") == "suspended"
    assert people.by("cat", "grant", "show", request)["live"]["state"] == "asked"
    for member in ("bob", "cat"):  # the lab is that of the other tests too
        people.by(member, "trust", "lift", suspension, "--reason", "found", "--yes")


def test_an_approver_offers_less_and_the_requester_signs_it(people: People) -> None:
    request = asked(people)
    words = ("grant", "counter", request, "--duration", "5m", "--reason", "five minutes will do", "--yes")
    offered = people.by("bob", *words)["id"]
    assert people.refused("ada", *words) == "approver-concerned"
    assert people.refused("cat", "grant", "accept", offered, "--yes") == "offer-other"
    shown = people.run("ada", "grant", "show", request).stdout
    assert f"5m by bob: five minutes will do ({offered})" in shown
    taken = people.run("ada", "grant", "accept", offered[:12], "--yes", "--json")
    assert taken.returncode == 0, taken.stderr
    assert "300 s (5m)" in taken.stderr, "it is shown whole before it is signed"
    follows = json.loads(taken.stdout)["id"]
    assert f"followed by    {follows}" in people.run("bob", "grant", "show", request).stdout
    assert people.by("bob", "grant", "show", follows)["linked"]["follows"] == request
    explained = people.run("ada", "grant", "explain", request).stdout
    assert f"offered 5m by bob: five minutes will do ({offered})" in explained
    assert people.by("ada", "grant", "explain", request)["linked"]["followed_by"] == [follows]
    people.by("bob", "approve", follows, "--yes")
    assert people.by("cat", "grant", "show", follows)["live"]["state"] == "open"


@pytest.mark.parametrize("words", [("deny", "req-00000000"), ("grant", "revoke", "req-00000000"), ("trust", "suspend")])
@pytest.mark.parametrize("reason", ["", "  "])
def test_a_reason_that_says_nothing_is_a_slip_of_the_hand(people: People, words: tuple[str, ...], reason: str) -> None:
    assert people.refused("bob", *words, "--reason", reason, status=2) == "text-empty"


def test_a_suspension_in_bad_words_fails_on_them_before_any_witness_is_asked(people: People, tmp_path: Path) -> None:
    still = People(shutil.copytree(people.place, tmp_path / "people", ignore=shutil.ignore_patterns("run")))
    for words, status, code in (
        (("--member", "nobody"), 1, "suspend-target-unknown"),
        (("--key-id", "ab" * 32), 1, "suspend-target-unknown"),
        (("--gate", "nowhere"), 1, "suspend-target-unknown"),
        (("--member", "ada", "--duration", "90d"), 1, "suspension-too-long"),
        (("--member", "ada"), 3, "witness-quorum"),  # as it should be, but for the witnesses
    ):
        assert still.refused("bob", "trust", "suspend", *words, "--reason", "lost", "--yes", status=status) == code


def test_one_of_security_suspends_and_two_others_lift(people: People) -> None:
    request = asked(people)
    suspension = people.by("cat", "trust", "suspend", "--member", "bob", "--reason", "laptop lost", "--yes")["id"]
    assert people.refused("bob", "approve", request, "--yes") == "suspended"
    for words in (("deny",), ("grant", "revoke")):  # gates would not take it, so nobody is told that it is in force
        assert people.refused("bob", *words, "--reason", "no", request, "--yes") == "suspended"
    assert [one["target"] for one in people.by("ada", "trust", "suspended")] == ["member:bob"]
    assert people.refused("bob", "trust", "lift", suspension, "--reason", "found", "--yes") == "suspended"
    assert people.by("ada", "trust", "lift", suspension, "--reason", "found", "--yes")["lifted"] is False
    assert people.by("cat", "trust", "lift", suspension, "--reason", "found", "--yes")["lifted"] is True
    assert people.by("bob", "approve", request, "--yes")
    words = ("trust", "suspend", "--reason", "x", "--yes")
    assert people.refused("ada", *words, "--member", "cat") == "suspension-not-allowed"
    assert people.refused("ada", *words, status=2) == "suspend-target"


@pytest.mark.parametrize(
    ("words", "status", "code"),
    [
        pytest.param(("request", "weights:sell", "model/aurora"), 1, "action-unknown", id="an unknown action"),
        pytest.param(("request", "weights:read", "model/nova"), 1, "request-hopeless", id="an unknown resource"),
        pytest.param(("request", "weights:read", "model/../x"), 2, "uri-name", id="a name that is none"),
        pytest.param(
            ("request", "model:release", "model/aurora"), 2, "request-of-release", id="a release without model"
        ),
        pytest.param(("request", "weights:read", "model/aurora"), 2, "session-key-missing", id="no session key"),
    ],
)
def test_a_request_that_cannot_be_is_refused_and_nothing_is_logged(
    people: People, words: tuple[str, ...], status: int, code: str
) -> None:
    before = len(people.by("ada", "grant", "list"))
    assert people.refused("ada", *words, "--gate", "gate/release", "--reason", "x", "--yes", status=status) == code
    assert len(people.by("ada", "grant", "list")) == before


def test_whoever_names_no_session_key_is_told_how_to_make_one(people: People) -> None:
    said = people.run("ada", "request", "weights:read", "model/aurora", "--gate", "release", "--reason", "x").stderr
    command = said.partition("try: ")[2].partition("; then add ")
    made = subprocess.run(
        ["bash", "-ec", f"{command[0]}; echo {command[2]}"], cwd=people.place, capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr
    session = made.stdout.removeprefix("--session-key ").strip()
    words = ("weights:read", "model/aurora", "--gate", "gate/release", "--reason", "a look", "--duration", "30m")
    assert people.by("ada", "request", *words, "--session-key", session, "--yes")["id"].startswith("req-")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(("request", "weights:raed", "model/aurora"), "did you mean `weights:read`?", id="an action"),
        pytest.param(
            ("request", "weights:read", "model/aurora", "--permit", "wieghts-read"), "`weights-read`?", id="a permit"
        ),
    ],
)
def test_a_misspelt_name_is_answered_with_the_nearest(people: People, words: tuple[str, ...], said: str) -> None:
    done = people.run("ada", *words, "--gate", "gate/release", "--reason", "x", "--yes")
    assert (done.returncode, said in done.stderr) == (1, True), done.stderr


def test_a_request_for_a_gate_that_is_none_is_refused_with_the_gates_that_there_are(people: People) -> None:
    session = SoftwareKey.generate().public.text
    words = ("request", "weights:read", "model/aurora", "--reason", "x", "--yes", "--session-key", session)
    done = people.run("ada", *words, "--gate", "gate/relase")
    assert (done.returncode, "[gate-unknown]" in done.stderr) == (1, True), done.stderr
    assert "did you mean `keyturn://acme.example/gate/release`?" in done.stderr


def test_a_misspelt_member_is_not_suspended_in_anothers_place(people: People) -> None:
    done = people.run("cat", "trust", "suspend", "--member", "boob", "--reason", "x", "--yes")
    assert (done.returncode, "did you mean `bob`?" in done.stderr) == (1, True), done.stderr


def test_other_bad_words_are_usage(people: People) -> None:
    assert people.refused("ada", "grant", "show", "req-00000000") == "request-unknown"
    more = ("request", "weights:read", "model/aurora", "--gate", "gate/release", "--reason", "x", "--yes")
    assert people.refused("ada", *more, "--duration", "soon", status=2) == "duration-invalid"
    assert people.refused("ada", *more, "--session-key", "x", status=2) == "key-invalid"


@pytest.mark.parametrize(
    ("words", "status", "code"),
    [
        pytest.param(("deny", "req-00000000", "--reason", "\x1b]0;x\x07"), 2, "text-control-character", id="an escape"),
        pytest.param(("deny", "req-00000000", "--reason", "\u202egnp"), 2, "text-control-character", id="turned text"),
        pytest.param(("deny", "req-00000000", "--reason", "caf\udce9"), 2, "text-encoding", id="no UTF-8"),
        pytest.param(("deny", "req-00000000", "--reason", "a" * 3000), 2, "text-too-long", id="a novel"),
        pytest.param(("deny", "req-1", "--reason", "x"), 2, "record-id", id="too few digits"),
        pytest.param(("trust", "pin", "1234"), 2, "digest-invalid", id="no SHA-256"),
        pytest.param(("lineage", "show", "dirHash:00"), 2, "digest-invalid", id="no digest"),
        pytest.param(
            ("trust", "suspend", "--member", "bbo", "--reason", "x"), 1, "suspend-target-unknown", id="a slip"
        ),
    ],
)
def test_what_is_typed_wrongly_is_usage_and_what_is_not_there_is_refused(
    people: People, words: tuple[str, ...], status: int, code: str
) -> None:
    assert people.refused("cat", *words, status=status) == code


def test_people_read_times_and_whole_ids(people: People) -> None:
    request = asked(people)
    assert "1800 s (30m)" in people.run("ada", "grant", "show", request).stdout
    shown = people.run("ada", "log", "show", "--last", "1").stdout
    assert request in shown
    assert re.search(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z", shown)
    (line,) = [line for line in people.run("ada", "grant", "list").stdout.splitlines() if request in line]
    assert "model/aurora" in line
    assert people.run("ada", "grant", "show", request).stdout.startswith(f"  request        {request}")


def test_policy_check_and_diff(people: People) -> None:
    found = people.by("ada", "policy", "check")
    assert found["publishers"] == ["ada", "bob", "cat"]
    assert (found["permits"]["weights-read"]["size"], found["permits"]["weights-read"]["count"]) == (2, 4)
    new = people.place / "new"
    new.mkdir()
    (new / "main.cedar").write_text(POLICY.replace("1 security", "2 security"))
    (change,) = people.by("ada", "policy", "diff", str(new))
    assert (change["permit"], change["opens"]) == ("weights-read", False)
    (new / "main.cedar").write_text(POLICY.replace("1 security", "9 security"))
    done = people.run("ada", "policy", "check", str(new))
    assert done.returncode == 1
    assert "nobody can ever use it" in done.stdout
    assert "[policy-unapprovable]" in done.stderr
    assert "closes weights-read" in people.run("ada", "policy", "diff", str(new)).stdout


def test_who_has_which_access_is_listed_and_a_person_signs_that_it_was_reviewed(people: People) -> None:
    found = people.by("cat", "policy", "review")
    (permit,) = [one for one in found["report"]["permits"] if one["permit"] == "weights-read"]
    assert (permit["asks"], permit["could_approve"]) == (["ada", "ada+coder"], ["bob", "cat"])
    assert "who can change all of it: ada, bob, cat" in people.run("cat", "policy", "review").stdout
    words = ("policy", "review", "--attest", "--finding", "as it should be")
    assert people.refused("cat", "policy", "review", "--attest", status=2) == "review-finding"
    assert people.run("cat", *words).returncode == 2, "nothing is signed without a yes"
    assert people.refused("ada+coder", *words, "--yes") == "signer-not-human"
    done = people.by("cat", *words, "--yes")
    last = people.by("ada", "policy", "review")["reviewed_last"]
    assert (last["by"], last["report"]["sha256"]) == ("cat", done["report_sha256"])


def test_waits_are_measured_and_drawn(people: People) -> None:
    request = asked(people)
    people.by("bob", "approve", request, "--yes")
    found = people.by("cat", "stats", "--svg", "waits.svg")
    assert found["asked"] >= found["granted"] >= 1
    assert len(found["waits_s"]) == found["granted"]
    drawn = ET.fromstring((people.place / "waits.svg").read_text())
    assert {node.tag.rpartition("}")[2] for node in drawn.iter()} == {"svg", "title", "rect", "text"}
    said = people.run("cat", "stats").stdout
    assert "median wait" in said
    assert people.refused("cat", "stats", "--svg", "waits.svg", status=2) == "file-exists"
