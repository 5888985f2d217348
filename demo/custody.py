"""Build the model under custody, release it, and verify it elsewhere."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from demo import attacks, prepare
from demo.founding import DemoLab
from demo.people import say

__all__ = ["MODEL", "build", "release", "verify_elsewhere"]

MODEL = "keyturn://acme.example/model/pystd"
BETTER_BY = "-1.5"
"""Bits per byte that the model must be below the best order-0 model."""


def build(lab: DemoLab) -> Path:
    """Run the four steps, and give the directory that is to be released."""
    work = lab.out / "work"
    count = prepare.copy_source(work / "source")
    say(f"\nThe data: {count} files, the source text of this Python's standard library.")
    source = lab.ada.asks("step", "digest", work / "source", shown=False)["digest"]
    for name in ("ingest", "train"):
        _run(lab, name, source=source)
    say("\nWhat the model must reach is logged before anybody measures it.")
    words = ("--metric", "bits-per-byte", "--against", "bits-per-byte-order-0", "--comparison", "at-most")
    why = "clearly better than counting bytes, on text that it never saw"
    stated = lab.carol.asks(
        "step", "criteria", MODEL, *words, f"--threshold={BETTER_BY}", "--reason", why, "--yes", "--lab", "lab"
    )
    _run(lab, "evaluate", source=source, criteria=stated["digest"])
    _run(lab, "package", source=source)
    model = lab.out / "model"
    shutil.copytree(work / "package" / "out" / "model", model)
    lab.ada.does("lineage", "show", "model", "--lab", "lab", shown=40)
    return model


def _run(lab: DemoLab, name: str, *, source: str, criteria: str = "") -> None:
    place = lab.out / "work" / name
    prepare.copy_step(name, place.parent)
    code = lab.ada.asks("step", "digest", place / "code", shown=False)["digest"]
    template = (place / "STEP.toml").read_text(encoding="utf-8")
    filled = prepare.fill(template, runtime=prepare.runtime_paths(), code=code, source=source, criteria=criteria)
    (place / "STEP.toml").write_text(filled, encoding="utf-8")
    lab.ada.does("run", f"work/{name}/STEP.toml", "--yes", "--lab", "lab")


def release(lab: DemoLab, model: Path) -> str:
    """Have the model released: not by one, not with an agent, but by two others. Gives the request's id."""
    ask = ("release", model.name, "--as", MODEL, "--why", "first public model", "--yes", "--lab", "lab")
    request: str = lab.ada.asks(*ask)["request"]
    say(f"    {request}")
    act = ("release", model.name, "--request", request, "--out", "model.pack", "--lab", "lab")
    say("\nAda alone:")
    lab.ada.is_refused(*act)
    say("\nAda's AI agent, which is in the group `security`, approves for her:")
    lab.coder.is_refused("approve", request, "--yes", "--lab", "lab")
    say("\nBob, who owns weights, and Carol, of security:")
    lab.bob.does("approve", request, "--reason", "chain and numbers are fine", "--yes", "--lab", "lab", shown=4)
    lab.carol.does("approve", request, "--reason", "evaluated as agreed", "--yes", "--lab", "lab", shown=4)
    lab.ada.does(*act)
    return request


def verify_elsewhere(lab: DemoLab) -> None:
    """Verify pack and model in an empty directory without network or home, as somebody who never saw the lab."""
    with tempfile.TemporaryDirectory(prefix="keyturn-somebody-") as name:
        place = Path(name)
        for file in ("model.pack", "root.json"):
            shutil.copyfile(lab.out / file, place / file)
        shutil.copytree(lab.out / "model", place / "model")
        words = ("verify", "model", "--pack", "model.pack", "--root", "root.json")
        printed = attacks.offline(place, lab.out, *words)
        say(f"\nsomebody $ keyturn {' '.join(words)}")
        for line in printed.splitlines():
            say(f"    {line}")
