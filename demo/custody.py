"""Build the model under custody, release it, and verify it elsewhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from demo import agent, prepare
from demo.founding import DemoLab
from demo.people import WIDTH, Stop, shown

__all__ = ["MODEL", "build", "release", "somebody_runs", "verify_elsewhere"]

MODEL = "keyturn://acme.example/model/pystd"
BETTER_BY = "-1.5"
"""Bits per byte that the model must be below the best order-0 model."""


def build(lab: DemoLab) -> None:
    """Run the four steps; the directory that is to be released is then `model/`."""
    work, say = lab.out / "work", lab.teller.say
    count = prepare.copy_source(work / "source")
    say(f"\nThe data: {count} files, the source text of this Python's standard library.")
    source = lab.ada.asks("step", "digest", work / "source", shown=False)["digest"]
    for name in ("ingest", "train"):
        _run(lab, name, source=source)
    say("\nWhat the model must reach is logged before anybody measures it.")
    words = ("--metric", "bits-per-byte", "--against", "bits-per-byte-order-0", "--comparison", "at-most")
    why = "clearly better than counting bytes, on text that it never saw"
    stated = lab.carol.asks(
        "step",
        "criteria",
        MODEL,
        *words,
        f"--threshold={BETTER_BY}",
        "--on",
        "work/ingest/out/heldout",
        "--reason",
        why,
        "--yes",
        "--lab",
        "lab",
    )
    _run(lab, "evaluate", source=source, criteria=stated["digest"])
    _run(lab, "package", source=source)
    shutil.copytree(work / "package" / "out" / "model", lab.out / "model")
    lab.ada.does("lineage", "show", "model", shown=60)


def _run(lab: DemoLab, name: str, *, source: str, criteria: str = "") -> None:
    place = lab.out / "work" / name
    prepare.copy_step(name, place.parent)
    code = lab.ada.asks("step", "digest", place / "code", shown=False)["digest"]
    template = (place / "STEP.toml").read_text(encoding="utf-8")
    filled = prepare.fill(template, runtime=prepare.runtime_paths(), code=code, source=source, criteria=criteria)
    (place / "STEP.toml").write_text(filled, encoding="utf-8")
    lab.ada.does("run", f"work/{name}/STEP.toml", "--yes")


def release(lab: DemoLab) -> str:
    """Have the model released: not by one, not with an agent, but by two. Gives the request's id."""
    say = lab.teller.say
    request: str = lab.ada.asks("release", "model", "--as", MODEL, "--reason", "first public model", "--yes")["request"]
    say(f"    {request}")
    say("\nAda alone:")
    lab.ada.is_refused("release", "model", "--request", request)
    say("\nAda's AI agent, which is in the group `security`, approves for her:")
    lab.coder.is_refused("approve", request, "--yes", "--lab", "lab")
    agent.approves_by_itself(lab, request)
    say("\nBob, who owns weights, and Carol, of security:")
    lab.bob.does("approve", request, "--reason", "chain and numbers are fine", "--yes", "--lab", "lab", shown=4)
    lab.carol.does("approve", request, "--reason", "evaluated as agreed", "--yes", "--lab", "lab", shown=4)
    lab.ada.does("release", "model", "--request", request)
    return request


def verify_elsewhere(lab: DemoLab) -> None:
    """Verify pack and model in an empty directory without network or home, as somebody who never saw the lab."""
    with tempfile.TemporaryDirectory(prefix="somebody-") as name:
        place = Path(name)
        for file in ("model.pack", "root.json"):
            shutil.copyfile(lab.out / file, place / file)
        shutil.copytree(lab.out / "model", place / "model")
        somebody_runs(lab, place, "verify", "model", "--pack", "model.pack", "--root", "root.json", expect=0)


def somebody_runs(lab: DemoLab, place: Path, *words: str, expect: int) -> None:
    """Run a command in `place` with no network, and with everything that the demo made hidden; show it."""
    confined = ["bwrap", "--unshare-all", "--die-with-parent", "--ro-bind", "/", "/", "--dev", "/dev"]
    confined += ["--tmpfs", str(lab.out), "--bind", str(place), str(place), "--chdir", str(place), "--"]
    done = subprocess.run(
        [*confined, sys.executable, "-m", "keyturn", *words],
        env={"HOME": str(place), "PATH": os.environ["PATH"], "COLUMNS": WIDTH, "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        check=False,
    )
    lab.teller.say(f"\nsomebody $ keyturn {' '.join(words)}\n{shown(done.stdout)}")
    if done.returncode != expect:
        raise Stop(f"`keyturn {' '.join(words)}` elsewhere ended with {done.returncode}, expected {expect}")
