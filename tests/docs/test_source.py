"""docs/guide/source.md is run as it stands: its commands, one shell, from top to bottom."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

import pytest

from keyturn.bulk import manifest
from support.pages import run_page

pytestmark = pytest.mark.timeout(300)


def test_two_humans_stand_behind_code_as_it_is_written(tmp_path: Path) -> None:
    run_page("guide/source.md", tmp_path)
    place = tmp_path / "a directory with spaces"
    envelope = json.loads((place / "source.vsa.json").read_text())
    said = json.loads(base64.b64decode(envelope["payload"]))
    code = tmp_path / "code"
    code.mkdir()
    archive = subprocess.run(["git", "-C", str(place / "train"), "archive", "main"], check=True, capture_output=True)
    subprocess.run(["tar", "-x", "-C", str(code)], input=archive.stdout, check=True)
    (subject,) = said["subject"]
    assert subject["digest"]["dirHash"] == manifest.make(code).identity.hex
    assert said["predicate"]["verifiedLevels"] == ["SLSA_SOURCE_LEVEL_1"]
    assert len(said["predicate"]["inputAttestations"]) == 2
