"""examples/finetune/ is run as its README stands: a real model, from a wheel of PyPI to a server that answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.pages import run_page

pytestmark = pytest.mark.timeout(900)

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "finetune"


def test_a_real_model_is_fine_tuned_evaluated_released_verified_and_served(tmp_path: Path) -> None:
    said = run_page(str(EXAMPLE / "README.md"), tmp_path, environment={"EXAMPLE": str(EXAMPLE)}, timeout_s=840)
    place = tmp_path / "a directory with spaces"
    measured = json.loads((place / "work/evaluate/out/measurement").read_text())
    assert float(measured["found-first"]) - float(measured["found-first-base"]) >= 0.03
    before, after = (place / "work" / name / "model.safetensors" for name in ("ingest/out/base", "finetune/out/model"))
    assert before.stat().st_size > 90_000_000
    assert before.read_bytes() == after.read_bytes()
    assert (place / "work/finetune/out/model/3_Dense/model.safetensors").stat().st_size > 384 * 384 * 4
    modules = json.loads((place / "work/finetune/out/model/modules.json").read_text())
    assert [one["path"] for one in modules] == ["", "1_Pooling", "2_Normalize", "3_Dense", "4_Normalize"]
    assert json.loads((place / "work/finetune/out/model/config.json").read_text())["hidden_size"] == 384
    assert "<svg" in (place / "lineage.svg").read_text()
    assert "AFFECTED by dirHash:" in said
    assert ": 1 models, 1 releases, " in said
