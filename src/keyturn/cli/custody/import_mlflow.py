"""`keyturn step import-mlflow`: take in a run of MLflow, as the importer's word."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keyturn.cli import output
from keyturn.cli.custody.run import emit_outcome, progress_of, show_request
from keyturn.cli.names import this_is_there
from keyturn.cli.options import Json, Key, Lab, Yes

if TYPE_CHECKING:
    from keyturn.adapters.mlflow_store import MlflowRun

__all__ = ["import_mlflow"]

_SHOWN_MAX = 20


def import_mlflow(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="The run's id in MLflow: 32 hex digits.", show_default=False)
    ],
    store: Annotated[
        Path,
        typer.Option(
            "--mlflow",
            help="Where MLflow keeps it: a directory `mlruns`, or a SQLite database.",
            show_default=False,
            callback=this_is_there,
        ),
    ],
    artifacts: Annotated[
        Path | None,
        typer.Option(help="The run's artifacts, if they are not where MLflow says.", callback=this_is_there),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="A new directory for it. Default: mlflow-<run>.")] = None,
    key: Key = None,
    yes: Yes = False,
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Take in a run of MLflow: what it says, and its artifacts, hashed here. It is your word: MLflow signs nothing.

    It becomes a step `ingest` of yours, level 1: custody begins there, and further steps take its output.
    """
    from keyturn.wiring.custody.import_mlflow import give_up, import_run, prepare_import
    from keyturn.wiring.lab.places import find_lab

    place = find_lab(lab)
    with output.hashing("artifacts", json=json) as on_bytes:
        importing = prepare_import(place, store, run, artifacts=artifacts, out=out, key=key, progress=on_bytes)
    try:
        output.warn("\n".join(_lines(importing.run, importing.artifacts)), json=json)
        show_request(importing.step.request, importing.step.destination, json=json)
        output.confirm("Sign and log this?", yes=yes)
        with progress_of(json=json) as on_progress:
            outcome = import_run(place, importing, on_progress)
    except BaseException:
        give_up(importing)
        raise
    emit_outcome(importing.step.request.step, outcome, json=json)


def _lines(run: MlflowRun, artifacts: Path | None) -> list[str]:
    lines = [f"run {run.run} ({run.name or '-'}) of experiment {run.experiment or '-'}, as MLflow says"]
    lines += [f"  by        {run.user or '-'}, {run.status}, source commit {run.commit or '-'}"]
    lines += [f"  artifacts {'none' if artifacts is None else artifacts}"]
    lines += [f"  param     {name} = {value}" for name, value in sorted(run.params.items())[:_SHOWN_MAX]]
    lines += [
        f"  metric    {name} = {one.value}, step {one.step}" for name, one in sorted(run.metrics.items())[:_SHOWN_MAX]
    ]
    lines += [f"  dataset   {one.name}, {one.digest} by MLflow's own measure" for one in run.datasets[:_SHOWN_MAX]]
    left = sum(max(len(some) - _SHOWN_MAX, 0) for some in (run.params, run.metrics, run.datasets))
    return [*lines, f"  and {left} more, in mlflow-run.json"] if left else lines
