"""The demo is played whole, as `make demo` plays it: the main job on real input, and the output that the README shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo.founding import DemoLab
from demo.people import Teller
from demo.scenario import play
from tools import readme_demo

pytestmark = [pytest.mark.alone, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> DemoLab:
    """The demo, after everything in it went as told: `play` raises at the first thing that did not."""
    return play(Teller(tmp_path_factory.mktemp("demo-out")))


def test_the_demo_leaves_lab_model_pack_and_root(played: DemoLab) -> None:
    left = {path.name for path in played.out.iterdir()}
    assert {"lab", "model", "model.pack", "root.json"} <= left
    assert {path.name for path in (played.out / "model").iterdir()} >= {"model.safetensors", "config.json"}
    assert (played.out / "root.json").read_bytes() == (played.out / "lab" / "trust" / "root.json").read_bytes()


def test_every_verdict_of_the_demo_says_that_it_is_one(played: DemoLab) -> None:
    verdicts = [line for line in played.teller.lines if "approved req-" in line or line.strip().startswith("lab  ")]
    assert len(verdicts) == 3
    assert all("profile demo" in line or "profile: demo" in line for line in verdicts)


def test_the_three_attacks_are_caught_by_name(played: DemoLab) -> None:
    told = played.teller.transcript()
    for code in ("model-other-files", "release-subjects", "link-missing", "signature-invalid", "witness-refused"):
        assert f"[{code}]" in told


def test_the_gate_refused_the_agents_approval_by_name(played: DemoLab) -> None:
    told = played.teller.transcript()
    assert "refused: `ada+coder` is an AI agent: only humans approve [approver-not-human]" in told


def test_the_readme_shows_the_real_output(played: DemoLab) -> None:
    readme = (Path(readme_demo.ROOT) / "README.md").read_text(encoding="utf-8")
    shown = readme_demo.same_story(readme_demo.in_readme(readme))
    assert shown == readme_demo.same_story(readme_demo.excerpt(played.teller.transcript()))
