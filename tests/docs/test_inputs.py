"""docs/guide/inputs.md is run as it stands: its commands, one shell, from top to bottom."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.pages import run_page

pytestmark = pytest.mark.timeout(300)


def test_inputs_are_taken_from_where_they_are_kept_as_it_is_written(tmp_path: Path) -> None:
    said = run_page("guide/inputs.md", tmp_path)
    for line in (
        "exit status 2: branches and tags move",
        "git -C train rev-parse main",
        "exit status 1: the tag was refused",
    ):
        assert line in said, said
