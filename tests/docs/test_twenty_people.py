"""docs/guide/twenty-people.md is run as it stands: its commands, one shell, from top to bottom, within its ten minutes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.pages import run_page


@pytest.mark.timeout(620)
def test_twenty_people_get_from_nothing_to_a_two_person_grant_in_ten_minutes(tmp_path: Path) -> None:
    said = run_page("guide/twenty-people.md", tmp_path, timeout_s=600)
    for words in (
        "invitations/grace+coder.invitation.json: give it to grace+coder",
        "signed as bob: root version 1, targets version 1",
        "permit `release` needs 1 weights-owners + 1 security: 3 people are enough",
        "everybody's KEYTURN_LAB: http://127.0.0.1:",
        "ok       you           heidi, with 1 listed key",
        "got 0 of 2 approvals",
        "exit status 1: nobody approved",
        "exit status 1: nobody approves for himself",
        "got 1 of 2 approvals",
        "exit status 1: one of two",
        "released dirHash:",
        "approved   by bob, carol, permit `release`",
        "1 request in 90 days: 1 granted",
    ):
        assert words in said, f"{words}\n\n{said}"
    events = [json.loads(line) for line in said.splitlines() if line.startswith('{"class_uid"')]
    assert [(event["metadata"]["event_code"], event.get("status_code")) for event in events] == [
        ("refused", "quorum-not-met"),
        ("refused", "quorum-not-met"),
        ("granted", None),
    ]
    assert [event["unmapped"].get("approvers") for event in events] == [None, None, ["bob", "carol"]]
    assert "events.jsonl: 3 events; decision 3 is next" in said
