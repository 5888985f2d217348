"""`keyturn gate export` as a process: it follows, goes on where it was, and sends again what a target did not take."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from keyturn.adapters.files.decision_files import DecisionFiles
from keyturn.formats.decision import Decision
from support.commands import KEYTURN
from support.members import People
from support.processes import running, wait_for

ONE = Decision(version=1, sequence=0, at=5, gate="keyturn://acme.example/gate/release", outcome="granted")


@pytest.fixture
def people(tmp_path: Path) -> People:
    people = People(tmp_path)
    people.found()
    people.by("bob", "trust", "accept", "bob.invitation.json")
    people.publish()
    people.by("ada", "gate", "init", "release")
    return people


def sequences(path: Path) -> list[int]:
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line)["metadata"]["sequence"] for line in lines]


def test_it_follows_ends_when_told_to_and_goes_on_where_it_was(people: People) -> None:
    decisions = DecisionFiles(people.lab / "gates" / "release" / "state" / "decisions")
    out = people.place / "events.jsonl"
    decisions.keep(ONE)
    words = ("gate", "export", "release", "--to", str(out), "--lab", str(people.lab))
    environment = {"KEYTURN_HOME": str(people.place / "ada")}
    with running([*KEYTURN, *words, "--follow"], environment=environment) as process:
        wait_for("the first", lambda: sequences(out) == [0] or None)
        decisions.keep(ONE)
        wait_for("the next", lambda: sequences(out) == [0, 1] or None)
        assert process.stop() == 0
    assert people.by("ada", *words) == {"gate": "release", "next": 2, "sent": 0, "to": str(out)}
    decisions.keep(ONE)
    assert people.by("ada", *words)["sent"] == 1
    assert sequences(out) == [0, 1, 2]
    assert people.by("ada", *words, "--start", "1")["sent"] == 2


def test_what_a_target_does_not_take_is_sent_when_it_does(people: People) -> None:
    DecisionFiles(people.lab / "gates" / "release" / "state" / "decisions").keep(ONE)
    out = people.place / "not-mounted" / "events.jsonl"
    words = ("gate", "export", "release", "--to", str(out), "--lab", str(people.lab))
    assert people.refused("ada", *words, status=3) == "export-failed"
    with running([*KEYTURN, *words, "--follow"], environment={"KEYTURN_HOME": str(people.place / "ada")}) as process:
        process.wait_for_line("export-failed")
        out.parent.mkdir()
        wait_for("it", lambda: sequences(out) == [0] or None)


def test_a_postgres_gates_decisions_are_sent_as_any_others(people: People) -> None:
    words = ("gate", "postgres", "init", "main", "--service", "https://keyturn.acme.example", "--owner", "app")
    people.by("ada", *words)
    DecisionFiles(people.lab / "gates" / "main" / "state" / "decisions").keep(ONE)
    out = people.place / "events.jsonl"
    assert people.by("ada", "gate", "export", "main", "--to", str(out))["sent"] == 1
    assert sequences(out) == [0]
    assert people.refused("ada", "gate", "export", "other", "--to", str(out), status=2) == "gate-none"
