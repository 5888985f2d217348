"""A training job of eight ranks that no builder starts: one is killed, the job goes on, and what it made is released."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.test_hub_input import REVISION, make_cache
from adapters.test_oci_input import make_layout
from keyturn.bulk import manifest
from keyturn.wiring.custody.steps import contents_of
from support.commands import environment_of
from support.members import People
from support.mlflow_stores import write_mlruns

pytestmark = pytest.mark.timeout(300)

RANKS = 8
SOURCE = re.compile(r"git\+file:repo@[0-9a-f]{40}")
POLICY = """
@id("release") @quorum("1 security") @pending_max("1d")
permit (principal in Group::"research", action == Action::"model:release", resource in Model::"aurora")
  when { context.custody.verified };
@id("read") @quorum("1 security") @duration_max("2h") @pending_max("8h")
permit (principal in Group::"research", action == Action::"weights:read", resource in Model::"aurora");
"""
INGEST = """
version = 1
name = "ingest"
build_type = "ingest"
command = ["sh", "-c", "mkdir $KEYTURN_OUT/data && cp -rL $KEYTURN_IN/raw $KEYTURN_OUT/data/raw"]
inputs = [{{ name = "raw", source = "raw", digest = "{raw}", mount = "/in/raw" }}]
outputs = [{{ name = "data", path = "/out/data" }}]
sandbox = {{ runtime = ["tools"], timeout_s = 600 }}
"""
TRAIN = """
version = 1
name = "train"
build_type = "train"
command = ["torchrun", "train.py"]
inputs = [
  {{ name = "data", source = "ingest/data", digest = "from-step:ingest/data", mount = "/in/data" }},
  {{ name = "code", role = "code", source = "{source}", digest = "{digest}", mount = "/in/code" }},
]
outputs = [{{ name = "model", path = "/out/model" }}]
sandbox = {{ runtime = ["tools"], timeout_s = 600 }}
"""
TUNE = """
version = 1
name = "tune"
build_type = "finetune"
command = ["tune"]
inputs = [
  {{ name = "image", source = "{image}", digest = "{image_digest}", mount = "/in/image" }},
  {{ name = "base", source = "{base}", digest = "{base_digest}", mount = "/in/base" }},
]
outputs = [{{ name = "model", path = "/out/model" }}]
sandbox = {{ runtime = ["tools"], timeout_s = 600 }}
"""
# Each rank adds up its share of the data's bytes, and writes what it has after each round.
RANK = """
import json, os, sys, keyturn
step = keyturn.open_step()
data = b"".join(sorted(path.read_bytes() for path in step.input("data").rglob("*.bin")))
begin, total = 0, 0
if "CHECKPOINT" in os.environ:
    with open(os.environ["CHECKPOINT"] + f"/rank-{step.rank}.json") as file:
        begin, total = json.load(file)
for round in range(begin + 1, 5):
    total += sum(data[step.rank::step.ranks])
    with step.checkpoint(f"round-{round}", wait_s=3 if "DIE" in os.environ and round == 3 else 90) as checkpoint:
        with checkpoint.open(f"rank-{step.rank}.json") as file:
            file.write(json.dumps([round, total]).encode())
            if os.environ.get("DIE") == f"{step.rank} {round}":
                print("dying", flush=True)
                sys.stdin.read()
        if step.rank == 0 and round == 1:
            (checkpoint.path / "by-another-library.txt").write_text("and read by the first rank")
    if step.rank == 0:
        print(round, checkpoint.number, checkpoint.logged, checkpoint.digest, flush=True)
if step.rank == 0:
    step.output("model").mkdir()
    (step.output("model") / "total.json").write_text(json.dumps([total, "of rank 0"]))
"""


@pytest.fixture
def people(tmp_path: Path) -> Iterator[People]:
    made = People(tmp_path)
    made.found()
    made.by("bob", "trust", "accept", "bob.invitation.json")
    made.publish(policy=POLICY)
    (tmp_path / "raw").mkdir()
    for number in range(3):
        (tmp_path / "raw" / f"{number}.bin").write_bytes(os.urandom(2000))
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "version").write_text("1")
    raw = manifest.make(tmp_path / "raw").identity
    (tmp_path / "ingest.toml").write_text(INGEST.format(raw=raw))
    (tmp_path / "rank.py").write_text(RANK)
    source = commit(tmp_path / "repo", "rank.py", RANK)
    (tmp_path / "train.toml").write_text(TRAIN.format(source=source, digest=digest_of(tmp_path, source)))
    with made.served():
        made.by("ada", "run", "ingest.toml", "--no-sandbox", "--out", "ingest", "--yes")
        yield made


def commit(repository: Path, name: str, content: str) -> str:
    """Commit one file; gives the source that names the commit, from beside the repository."""
    git = ("git", "-C", str(repository), "-c", "user.name=Ada", "-c", "user.email=ada@acme.example")
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}
    repository.mkdir()
    (repository / name).write_text(content)
    for words in (("init", "-q"), ("add", "--all"), ("commit", "-q", "-m", "first"), ("rev-parse", "HEAD")):
        done = subprocess.run([*git, *words], env=environment, check=True, capture_output=True, text=True)
    (repository / name).write_text("not committed")
    return f"git+file:{repository.name}@{done.stdout.strip()}"


def digest_of(base: Path, source: str) -> str:
    """The digest of what `source` names from `base`."""
    head = next((one for one in ("git+file:", "oci:") if source.startswith(one)), "")
    named = f"{head}{base}/{source.removeprefix(head)}"
    return str(contents_of(named, lambda *_: None, listed=False).identity)


def ranks(people: People, attempt: str, **more: str) -> list[tuple[int, str]]:
    """Run the job: status and output of each rank. The rank that is to die waits for it in the middle of a file."""
    environment = environment_of(people.place / "ada") | {"KEYTURN_STEP": attempt, "WORLD_SIZE": str(RANKS)} | more
    started = [
        subprocess.Popen(
            [sys.executable, "rank.py"],
            cwd=people.place,
            env=environment | {"RANK": str(rank)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(RANKS)
    ]
    if "DIE" in more:
        dying = started[int(more["DIE"].split()[0])]
        assert dying.stdout is not None
        assert dying.stdout.readline() == "dying\n"
        dying.send_signal(signal.SIGKILL)
    return [(process.wait(60), "".join(process.communicate())) for process in started]


def test_eight_ranks_of_which_one_is_killed_go_on_and_what_they_made_is_released(people: People) -> None:
    place = people.place
    words = ("step", "open", "train.toml", "--out", "train")
    assert people.refused("ada", *words, status=2) == "not-confirmed"
    train = (place / "train.toml").read_text()
    (place / "false.toml").write_text(re.sub(r'(code", source = .*dirHash:)[0-9a-f]{4}', r"\g<1>0000", train))
    assert people.refused("ada", "step", "open", "false.toml", "--out", "train", "--yes") == "input-digest"
    (place / "copied.toml").write_text(train.replace('name = "data"', 'name = "data", check = "snapshot"'))
    assert people.refused("ada", "step", "open", "copied.toml", "--out", "train", "--yes", status=2) == "step-check"
    assert list(place.glob(".train*")) == [], "what was fetched goes when nothing is opened"
    opened = people.by("ada", *words, "--yes")
    first = opened["KEYTURN_STEP"]
    assert Path(first) == place / "train.attempt"
    code = place / "train.attempt/inputs/code/rank.py"
    assert (code.read_text(), code.stat().st_mode & 0o777) == (RANK, 0o444), "as committed, and not to be written to"
    done = ranks(people, first, DIE="5 3")
    assert done[5][0] == -signal.SIGKILL
    assert done[0][0] == 1
    assert "checkpoint-incomplete" in done[0][1] or "rank 5 was not done" in done[0][1]
    listed = people.by("ada", "step", "checkpoints", first)
    assert [(one["number"], one["logged"]) for one in listed] == [(1, True), (2, True)]
    assert listed[0]["digest"] == str(manifest.make(place / "train.attempt/checkpoints/round-1").identity)

    # A checkpoint that is no longer what it was is none to go on from.
    second = place / "train.attempt/checkpoints/round-2/rank-3.json"
    was = second.read_text()
    second.write_text(was.replace("2", "3", 1))
    assert people.refused("ada", "step", "resume", first, "--yes") == "checkpoint-changed"
    second.write_text(was)
    resumed = people.by("ada", "step", "resume", first, "--yes")
    assert Path(resumed["KEYTURN_STEP"]) == place / "train.attempt-2"
    model = Path(resumed["KEYTURN_STEP"]) / "out/model"
    assert people.refused("ada", "step", "close", resumed["KEYTURN_STEP"]) == "output-missing"
    shutil.copytree(place / "ingest/data", model)
    assert people.refused("ada", "step", "close", resumed["KEYTURN_STEP"]) == "output-is-input"
    shutil.rmtree(model)
    done = ranks(people, resumed["KEYTURN_STEP"], CHECKPOINT=listed[1]["path"])
    assert [status for status, _ in done] == [0] * RANKS, done
    assert [line.split()[:3] for line in done[0][1].splitlines()] == [["3", "1", "True"], ["4", "2", "True"]]
    closed = people.by("ada", "step", "close", resumed["KEYTURN_STEP"])
    assert closed["outputs"]["model"] == str(manifest.make(place / "train/model").identity)
    assert people.refused("ada", "step", "close", resumed["KEYTURN_STEP"]) == "attempt-closed"

    # Bytes go when everybody can know; the step that takes them has ended, and a crash in the middle is gone on with.
    data = str(manifest.make(place / "ingest/data").identity)
    reason = ("--reason", "retention", "--yes")
    assert (
        people.refused("ada", "dispose", "ingest/data", "--digest", "dirHash:" + "0" * 64, *reason) == "disposal-other"
    )
    assert people.refused("ada", "dispose", "ingest/data", *reason) == "disposal-in-use", (
        "the first attempt never ended"
    )
    assert (place / "ingest/data").exists()
    gone = people.by("ada", "dispose", "ingest/data", "--digest", data, "--anyway", *reason)
    assert not (place / "ingest/data").exists()
    assert list((place / "ingest").glob(".*")) == []
    aside = place / "ingest" / f".data.{gone['id'][4:]}.disposing"
    aside.mkdir()
    (aside / "half").write_text("left by a crash")
    assert people.by("ada", "dispose", "ingest/data", *reason) == {
        "id": gone["id"],
        "path": "ingest/data",
        "finished": True,
    }
    assert not aside.exists()
    assert people.refused("ada", "dispose", "ingest/data", *reason, status=2) == "artifact-missing"
    # Whoever may write there calls what he likes so: only what the log says goes.
    for name, record in (("data", "0" * 32), ("other", gone["id"][4:])):
        aside = place / "ingest" / f".{name}.{record}.disposing"
        aside.mkdir()
        assert people.refused("ada", "dispose", f"ingest/{name}", *reason) == "disposal-unlogged"
        assert aside.exists()
        aside.rmdir()

    shown = people.by("ada", "lineage", "show", "train/model")
    assert [(one["artifact"], one["by_and_where"].split(":")[-1]) for one in shown["disposals"]] == [
        (data, str(place / "ingest/data"))
    ]
    assert [one["step"] for one in shown["behind"]] == ["ingest", "train", "train"]
    for step in shown["behind"][1:]:
        (code_from,) = (one for one in step["inputs"] if one["name"] == "code")
        assert code_from["uri"] in SOURCE.findall(train)
        assert code_from["git_commit"] == code_from["uri"][-40:]
    asked = people.by("ada", "release", "train/model", "--as", "model/aurora", "--reason", "it adds up", "--yes")
    people.by("bob", "approve", asked["request"], "--reason", "seen", "--yes")
    people.by("ada", "release", "train/model", "--as", "model/aurora", "--request", asked["request"])
    # What a run of MLflow says is taken in as its importer's word: custody begins there.
    run = write_mlruns(place / "mlruns", artifacts=place / "mlflow-files")
    (place / "mlflow-files").mkdir()
    (place / "mlflow-files" / "model.bin").write_bytes(b"weights")
    words = ("step", "import-mlflow", run, "--mlflow", "mlruns")
    assert people.refused("ada", *words, status=2) == "not-confirmed"
    assert not (place / f"mlflow-{run[:16]}").exists()
    taken = people.by("ada", *words, "--yes")
    made = place / f"mlflow-{run[:16]}/out/run"
    assert taken["outputs"]["run"] == str(manifest.make(made).identity)
    assert (made / "artifacts/model.bin").read_bytes() == b"weights"
    document = json.loads((made / "mlflow-run.json").read_text())
    assert (document["params"]["lr"], document["metrics"]["loss"]) == ("0.1", {"value": "2.5", "step": "2"})
    (step,) = people.by("ada", "lineage", "show", str(made))["behind"]
    assert (step["builder"].rpartition("/")[2], step["level"], step["sandbox"]) == ("ada", 1, "none")
    inputs = {one["name"]: one["digest"] for one in step["inputs"]}
    assert inputs["artifacts"] == str(manifest.make(place / "mlflow-files").identity)
    assert inputs["mlflow"] == str(manifest.make(made / "mlflow-run.json").identity)
    assert people.refused("ada", *words, "--yes", status=2) == "destination-taken"

    # What is kept as an image, or in a hub's cache, is copied too; who changes a copy makes what came out of it refused.
    image, _ = make_layout(place / "image")
    sources = {"image": f"oci:image@{image}", "base": str(make_cache(place / "hub").relative_to(place))}
    digests = {f"{name}_digest": digest_of(place, one) for name, one in sources.items()}
    (place / "tune.toml").write_text(TUNE.format(**sources, **digests))
    attempt = Path(people.by("ada", "step", "open", "tune.toml", "--out", "tuned", "--yes")["KEYTURN_STEP"])
    (attempt / "out/model").write_text("tuned")
    config = attempt / "inputs/base/config.json"
    config.rename(attempt / "config.json")
    config.write_text("{}")
    assert people.refused("ada", "step", "close", str(attempt)) == "input-changed"
    (attempt / "config.json").rename(config)
    people.by("ada", "step", "close", str(attempt))
    (step,) = people.by("ada", "lineage", "show", "tuned/model")["behind"]
    taken_from = {one["name"]: one.get("uri") for one in step["inputs"]}
    assert (taken_from["image"], taken_from["base"]) == (sources["image"], f"hf://acme/tiny@{REVISION}")

    assert people.refused("ada", "dispose", "train/model", "--reason", "x", "--yes") == "disposal-released"
    assert (place / "train/model").exists()
    # A request that is named must be granted to whoever deletes, and open.
    read = people.ask()
    going = ("dispose", "train/model", "--reason", "it is in the registry", "--anyway", "--yes", "--under", read)
    assert people.refused("ada", *going) == "disposal-request"
    people.by("bob", "approve", read, "--reason", "there are copies", "--yes")
    assert people.refused("bob", *going) == "disposal-request"
    assert (place / "train/model").exists()
    people.by("ada", *going)
    assert not (place / "train/model").exists()
