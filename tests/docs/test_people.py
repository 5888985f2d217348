"""docs/guide/people.md and pages of ceremonies are run as they stand: their commands, one shell, from top to bottom.

Here people have software keys, and other pages begin with that of a team; tests/keys/test_ceremonies_with_passkeys.py runs
more of them, with passkeys.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from support.ceremonies import BY_PASSKEYS, CEREMONIES, LAB, run_ceremony
from support.pages import DOCS

SECTIONS = (
    *("**When**", "**Who must be there**", "**Have ready**"),
    *("## What to type", "## How to see that it worked", "## What goes wrong"),
)


def test_every_ceremony_has_its_page_and_is_run() -> None:
    assert {path.stem for path in (DOCS / "guide" / "ceremonies").glob("*.md")} == CEREMONIES.keys()
    linked = (DOCS / LAB).read_text(encoding="utf-8")
    assert [name for name in CEREMONIES if f"(ceremonies/{name}.md)" not in linked] == []


@pytest.mark.parametrize("name", CEREMONIES)
def test_a_page_says_when_who_with_what_and_how_to_check_it_and_what_goes_wrong(name: str) -> None:
    text = (DOCS / "guide" / "ceremonies" / f"{name}.md").read_text(encoding="utf-8")
    assert [part for part in SECTIONS if part not in text] == []
    assert "```text\n" in text


@pytest.mark.timeout(460)
@pytest.mark.parametrize("name", sorted(CEREMONIES.keys() - {*BY_PASSKEYS, "team"}))
def test_a_ceremony_works_as_it_is_written(name: str, tmp_path: Path) -> None:
    assert "webauthn" not in run_ceremony(name, tmp_path)
