"""docs/guide/personal-data.md is run as it stands: its commands, one shell, from top to bottom."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.pages import run_page

pytestmark = pytest.mark.timeout(300)


def test_personal_data_is_erased_as_it_is_written(tmp_path: Path) -> None:
    said = run_page("guide/personal-data.md", tmp_path)
    before, _, after = said.partition("verified   ")
    assert before.count(" due ") == 2, said
    assert after.count("erased     entry ") == 2, said
    assert after.count(", by tombstone ") == 2, said
    assert "no tombstone asks" not in said
