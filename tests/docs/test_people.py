"""docs/guide/people.md is run as it stands: its commands, one shell, from top to bottom."""

from __future__ import annotations

from pathlib import Path

from support.pages import run_page


def test_every_ceremony_of_people_works_as_it_is_written(tmp_path: Path) -> None:
    said = run_page("guide/people.md", tmp_path)
    for words in (
        "invitations/cara+coder.invitation.json: give it to cara+coder",
        "signed as bob: root version 2, targets version 2",
        "member bob is suspended, in force",
        "lifted",
        "dan is out of the draft",
        "[member-answers-for]",
        "signed as vault: root version",
        "[trust-threshold",
    ):
        assert words in said, f"{words}\n\n{said}"
