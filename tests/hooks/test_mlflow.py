"""A run that MLflow itself wrote, into files and into a database, is taken in as what its importer says.

MLflow runs in `.venv-hooks`, which `make hooks` makes.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from keyturn.bulk import manifest
from sdk.test_step import People, people

__all__ = ["people"]

PYTHON = Path(__file__).resolve().parents[2] / ".venv-hooks" / "bin" / "python"

pytestmark = pytest.mark.hooks

RUN = """
import sys
from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.tracking import MlflowClient
client = MlflowClient(tracking_uri=sys.argv[1])
experiment = client.create_experiment("pystd", artifact_location=sys.argv[2])
run = client.create_run(experiment, tags={"mlflow.source.git.commit": "ab" * 20, "mlflow.user": "ada"}).info.run_id
client.log_param(run, "lr", "0.1")
client.log_param(run, "notes", "two\\nlines: of text")
client.log_metric(run, "loss", 3.5, step=1)
client.log_metric(run, "loss", 2.5, step=2)
client.log_metric(run, "eval/worst", float("nan"))
long = '{"uri": "' + "a long name, 'quoted' " * 20 + '"}'
given = Dataset(name="pystd: all", digest="9f2e11aa", source_type="local", source=long)
client.log_inputs(run, [DatasetInput(given, [InputTag("mlflow.data.context", "training")])])
open("model.bin", "wb").write(b"weights")
client.log_artifact(run, "model.bin", "model")
client.set_terminated(run)
print(run)
"""


@pytest.mark.parametrize("store", ["file://{place}/mlruns", "sqlite:///{place}/mlflow.db"])
def test_a_run_that_mlflow_wrote_is_taken_in(people: People, store: str) -> None:
    place = people.place
    (place / "write.py").write_text(RUN)
    wrote = subprocess.run(
        [PYTHON, "write.py", store.format(place=place), f"file://{place}/kept"],
        cwd=place,
        env={**os.environ, "MLFLOW_ALLOW_FILE_STORE": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert wrote.returncode == 0, wrote.stderr
    run = wrote.stdout.split()[-1]
    where = "mlruns" if store.startswith("file") else "mlflow.db"
    people.by("ada", "step", "import-mlflow", run, "--mlflow", where, "--out", "taken", "--yes")
    document = json.loads((place / "taken/out/run/mlflow-run.json").read_text())
    assert document["params"] == {"lr": "0.1", "notes": "two\nlines: of text"}
    assert document["metrics"]["loss"] == {"value": "2.5", "step": "2"}
    assert document["metrics"]["eval/worst"]["value"] == "nan"
    assert (document["user"], document["commit"], document["status"]) == ("ada", "ab" * 20, "FINISHED")
    (dataset,) = document["datasets"]
    assert (dataset["name"], dataset["digest"]) == ("pystd: all", "9f2e11aa")
    assert json.loads(dataset["source"])["uri"] == "a long name, 'quoted' " * 20
    assert dataset["tags"] == {"mlflow.data.context": "training"}
    artifacts = manifest.make(place / "kept" / run / "artifacts").identity
    assert manifest.make(place / "taken/out/run/artifacts").identity == artifacts
    (step,) = people.by("ada", "lineage", "show", "taken/out/run")["behind"]
    assert {one["name"]: one["digest"] for one in step["inputs"]}["artifacts"] == str(artifacts)
    assert step["level"] == 1
