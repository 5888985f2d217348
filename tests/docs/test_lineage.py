"""docs/guide/lineage.md is run as it stands, behind docs/first-lab.md: its commands, one shell, from top to bottom."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from support.pages import run_page

pytestmark = pytest.mark.timeout(300)


def test_lineage_is_shown_and_what_is_affected_found_as_it_is_written(tmp_path: Path) -> None:
    said = run_page("guide/lineage.md", tmp_path, after=("first-lab.md",))
    for line in ("exit status 1: what the builder signed", "exit status 0: nothing from those days", "NOTHING by "):
        assert line in said, said
    place = tmp_path / "a directory with spaces" / "first-lab"
    drawn = ET.fromstring((place / "model.svg").read_text())
    assert drawn.tag.endswith("svg")
    assert (place / "model.dot").read_text().startswith("digraph lineage {")
    told = json.loads((place / "model.lineage.json").read_text())
    assert [step["build"] for step in told["behind"]] == ["ingest", "train"]
    assert told["releases"][0]["resource"] == "keyturn://acme.example/model/toy"
