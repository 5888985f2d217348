"""docs/guide/write-a-gate.md is run as it stands, with the scripts of examples/ that it is about."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from support.pages import run_page

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SCRIPTS = {name: (EXAMPLES / name).read_text(encoding="utf-8") for name in ("rotate_key.py", "rotate_key.sh")}


@pytest.mark.timeout(240)
def test_a_script_needs_two_people_as_it_is_written(tmp_path: Path) -> None:
    said = run_page("guide/write-a-gate.md", tmp_path, timeout_s=200, files=SCRIPTS)
    place = tmp_path / "a directory with spaces"
    for words in (
        "exit status 1: its second is over",
        "exit status 1: it was revoked",
        "exit status 1: it is for another gate",
        "exit status 1: it ended with its grant",
        "gate/rotate signed into the log last",
    ):
        assert words in said, f"{words}\n\n{said}"
    assert re.search(r"^ok +gate-vault ", said, re.MULTILINE), said
    assert "gate-rotate" not in said, "a script that does not run is nobody's concern"
    codes = [
        *("quorum-not-met", "quorum-not-met", None, "one-shot-used"),
        *("window-over", "request-revoked", "gate-other", None),
    ]
    events = [json.loads(line) for line in (place / "events.jsonl").read_text().splitlines()]
    assert [event.get("status_code") for event in events] == codes
    assert said.count("rotated\n") == 1, "nothing was done but by a grant"
    assert (place / "backup.key.before").stat().st_size == (place / "backup.key").stat().st_size == 32
    assert (place / "lab" / "run" / "gate-vault.out").exists()


def test_the_example_is_as_short_as_is_said() -> None:
    assert len(SCRIPTS["rotate_key.py"].splitlines()) <= 66
