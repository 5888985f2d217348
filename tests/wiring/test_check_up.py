"""The check-up says of each process of a lab whether it answers, from where somebody stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.members import People

pytestmark = pytest.mark.timeout(300)


def test_a_process_that_does_not_run_is_named_and_one_that_answers_is_ok(tmp_path: Path) -> None:
    people = People(tmp_path)
    people.found()
    people.by("bob", "trust", "accept", "bob.invitation.json")
    people.publish()
    with people.served():
        people.by("ada", "notify", "init")
        found = {one["check"]: one for one in people.by("ada", "doctor")}
        assert [found[name]["level"] for name in ("service", "witness-north", "gate-release")] == ["ok"] * 3
        assert (found["notify"]["level"], "does not run" in found["notify"]["found"]) == ("warning", True)
    found = {one["check"]: one for one in people.by("ada", "doctor")}
    for name in ("service", "witness-north", "notify", "gate-release"):
        assert (found[name]["level"], found[name]["hint"]) == ("warning", "keyturn up, where it runs")
