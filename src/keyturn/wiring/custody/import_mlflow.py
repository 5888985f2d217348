"""Take in a run of MLflow: a step `ingest` of the member's own, over what MLflow says and the files that it kept.

A directory of its own holds `mlflow-run.json` (what MLflow says, `adapters.mlflow_store`), a STEP.toml, and `out`. Inputs are
that document and the artifacts, hashed here; the output `run` holds both. The provenance is the importer's word, level 1, without
a sandbox: custody begins here, since MLflow signs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tomli_w

from keyturn.adapters.files.clearing import clear
from keyturn.adapters.files.config_files import write_new
from keyturn.adapters.files.step_files import require_free
from keyturn.adapters.mlflow_store import MlflowRun, local_artifacts, run_of
from keyturn.adapters.over_http.builder_over_http import Outcome
from keyturn.bulk import manifest
from keyturn.bulk.manifest import Progress
from keyturn.wiring.custody.run_command import OnProgress, PreparedStep, prepare, run_here
from keyturn.wiring.lab.places import LabPlace

__all__ = ["Importing", "give_up", "import_run", "prepare_import"]

_DOCUMENT = "mlflow-run.json"
_TOOLS = ("sh", "cp", "mkdir")


@dataclass(frozen=True, slots=True)
class Importing:
    """A run that can be shown, and then taken in."""

    run: MlflowRun
    artifacts: Path | None
    directory: Path
    step: PreparedStep


def prepare_import(
    place: LabPlace,
    store: Path,
    run: str,
    *,
    artifacts: Path | None,
    out: Path | None,
    key: str | None,
    progress: Progress,
) -> Importing:
    """Read `run` of `store`, digest its artifacts, and make the request that its importer signs."""
    found = run_of(store, run)
    directory = (out or Path(f"mlflow-{run[:16]}")).absolute()
    require_free(directory)
    where = artifacts.absolute() if artifacts is not None else local_artifacts(found)
    directory.mkdir(parents=True, exist_ok=True)
    try:
        write_new(directory / _DOCUMENT, found.document())
        document = str(manifest.contents(directory / _DOCUMENT).identity)
        inputs = [{"name": "mlflow", "source": _DOCUMENT, "digest": document, "mount": f"/in/{_DOCUMENT}"}]
        if where is not None:
            digest = str(manifest.contents(where, progress=progress).identity)
            inputs.append({"name": "artifacts", "source": str(where), "digest": digest, "mount": "/in/artifacts"})
        taken = _DOCUMENT if where is None else f"{_DOCUMENT} artifacts"
        step = {
            "version": 1,
            "name": f"mlflow-{run[:16]}",
            "build_type": "ingest",
            "command": [
                "sh",
                "-c",
                f'mkdir "$KEYTURN_OUT/run" && cd "$KEYTURN_IN" && cp -rL {taken} "$KEYTURN_OUT/run/"',
            ],
            "inputs": inputs,
            "outputs": [{"name": "run", "path": "/out/run"}],
            "sandbox": {"runtime": [f"/usr/bin/{tool}" for tool in _TOOLS], "timeout_s": 86400},
        }
        write_new(directory / "STEP.toml", tomli_w.dumps(step).encode())
        prepared = prepare(
            place, directory / "STEP.toml", out=None, criteria=None, builder=None, sandboxed=False, key=key
        )
    except BaseException:
        clear(directory)
        raise
    return Importing(found, where, directory, prepared)


def import_run(place: LabPlace, importing: Importing, on_progress: OnProgress) -> Outcome:
    """Sign and log it, and keep what was taken in below the directory's `out`."""
    return run_here(place, importing.step, on_progress)


def give_up(importing: Importing) -> None:
    """Remove what was made for a run that is not taken in."""
    clear(importing.directory)
