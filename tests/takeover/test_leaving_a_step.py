"""Whoever stops waiting for a step is told that it goes on, and can wait for it again."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from keyturn.bulk import manifest
from support.commands import KEYTURN
from support.processes import running, wait_for
from support.taken_lab import RUNTIME, TakenLab

pytestmark = [pytest.mark.xdist_group("takeover"), pytest.mark.timeout(300)]

STEP = """version = 1
name = "slow"
build_type = "ingest"
command = ["sh", "-c", "sleep 4; echo done > /out/data"]
[[inputs]]
name = "source"
source = "../source"
digest = "{source}"
mount = "/in/source"
[[outputs]]
name = "data"
path = "/out/data"
[sandbox]
runtime = {runtime}
timeout_s = 60
"""


@pytest.fixture
def step(lab: TakenLab) -> Path:
    place = lab.place / "work" / "slow"
    place.mkdir()
    (place / "STEP.toml").write_text(
        STEP.format(runtime=RUNTIME, source=manifest.make(place.parent / "source").identity)
    )
    return place / "STEP.toml"


def test_after_ctrl_c_the_step_goes_on_and_can_be_waited_for_again(lab: TakenLab, step: Path) -> None:
    before = lab.by("ada", "log", "show", "--last", "1")["size"]
    environment = {"KEYTURN_HOME": str(lab.home("ada")), "KEYTURN_LAB": str(lab.lab)}
    with running([*KEYTURN, "run", str(step), "--yes"], cwd=lab.place, environment=environment) as process:
        wait_for("the request in the log", lambda: lab.by("ada", "log", "show")["size"] > before or None, process)
        process.signal(signal.SIGINT)
        assert process.wait(deadline_s=20) == 130
        said = process.output
    assert "goes on at the builder" in said
    request = said.partition("keyturn step wait ")[2].split()[0]
    done = lab.by("ada", "step", "wait", request)
    assert (done["step"], list(done["outputs"])) == ("slow", ["data"])
    assert (step.parent / "out" / "data").read_text() == "done\n"
    assert lab.by("bob", "step", "wait", request)["provenance"] == done["provenance"], (
        "it is done, and can be asked again"
    )


def test_a_step_that_nobody_asked_for_is_not_waited_for(lab: TakenLab) -> None:
    assert lab.refused("ada", "step", "wait", "stp-00000000") == {"record-not-found"}
