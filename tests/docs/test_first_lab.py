"""docs/first-lab.md is run as it stands: its commands, one shell, from top to bottom."""

from __future__ import annotations

from pathlib import Path

from support.pages import run_page


def test_the_first_hour_works_as_it_is_written(tmp_path: Path) -> None:
    printed = run_page("first-lab.md", tmp_path)
    for said in (
        "acme.example is founding",
        "evaluation PASSED",
        "got 0 of 1 approvals; missing: 1 of `owners`",
        "[approver-concerned]",
        "who could still approve: bob",
        "released dirHash:",
        "VERIFIED: `model` is the released model",
        "[model-other-files]",
        "exit status 1: these are not the released files",
        "member:ada until 20",
        "verified   ",
    ):
        assert said in printed, f"{said}\n\n{printed}"
