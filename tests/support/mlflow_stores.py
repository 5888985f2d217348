"""Stores of one run, with the text that MLflow 3.17 wrote; `make hooks` has the real one write them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

__all__ = ["RUN", "write_database", "write_mlruns"]

RUN = "df7f13f6ae884e2db9390547189296f7"
_EXPERIMENT = "952553375291364335"
_DATASET = "488f1cd0a6e70f0de39ba36d566e0c12"
_INPUT = "891ca449884763409c7b75e911010238"


def write_mlruns(store: Path, *, artifacts: Path, status: str = "3", stage: str = "active") -> str:
    """A file store at `store`; gives the id of its run."""
    run = f"{_EXPERIMENT}/{RUN}"
    files = {
        f"{_EXPERIMENT}/meta.yaml": f"artifact_location: {artifacts.as_uri()}\nexperiment_id: '{_EXPERIMENT}'\nname: pystd\n",
        f"{_EXPERIMENT}/datasets/{_DATASET}/meta.yaml": (
            "digest: 9f2e11aa\nname: pystd\nprofile: null\nschema: null\n"
            'source: \'{"uri": "data/train of a name that is so long\n  that it goes on"}\'\nsource_type: local\n'
        ),
        f"{run}/meta.yaml": (
            f"artifact_uri: {artifacts.as_uri()}\nend_time: 1796087834541\nentry_point_name: ''\n"
            f"experiment_id: '{_EXPERIMENT}'\nlifecycle_stage: {stage}\nrun_id: {RUN}\nrun_name: first\nsource_name: ''\n"
            f"source_type: 4\nsource_version: ''\nstart_time: 1796087834522\nstatus: {status}\ntags: []\nuser_id: ada\n"
        ),
        f"{run}/inputs/{_INPUT}/meta.yaml": (
            f"destination_id: {_DATASET}\ndestination_type: RUN\nsource_id: {_DATASET}\nsource_type: DATASET\n"
            "tags:\n  mlflow.data.context: training\n"
        ),
        f"{run}/params/lr": "0.1",
        f"{run}/params/opt/name": "adam",
        f"{run}/metrics/loss": "1796087834532 3.5 1\n1796087834533 2.5 2\n",
        f"{run}/metrics/eval/acc": "1796087834534 0.5 0\n",
        f"{run}/tags/mlflow.user": "ada",
        f"{run}/tags/mlflow.runName": "first",
        f"{run}/tags/mlflow.source.git.commit": "ab" * 20,
    }
    for name, text in files.items():
        (store / name).parent.mkdir(parents=True, exist_ok=True)
        (store / name).write_text(text)
    return RUN


def write_database(path: Path, *, artifacts: Path) -> str:
    """The same run in a database, of the columns that are read."""
    with closing(sqlite3.connect(path)) as database:
        database.executescript(
            f"""
            CREATE TABLE experiments (experiment_id INTEGER, name TEXT);
            CREATE TABLE runs (run_uuid TEXT, name TEXT, user_id TEXT, status TEXT, start_time INTEGER, end_time INTEGER,
                lifecycle_stage TEXT, artifact_uri TEXT, experiment_id INTEGER);
            CREATE TABLE params (key TEXT, value TEXT, run_uuid TEXT);
            CREATE TABLE latest_metrics (key TEXT, value DOUBLE, timestamp INTEGER, step INTEGER, is_nan BOOLEAN, run_uuid TEXT);
            CREATE TABLE tags (key TEXT, value TEXT, run_uuid TEXT);
            CREATE TABLE inputs (input_uuid TEXT, source_type TEXT, source_id TEXT, destination_type TEXT, destination_id TEXT);
            CREATE TABLE datasets (dataset_uuid TEXT, name TEXT, digest TEXT, dataset_source_type TEXT, dataset_source TEXT);
            CREATE TABLE input_tags (input_uuid TEXT, name TEXT, value TEXT);
            INSERT INTO experiments VALUES (1, 'pystd');
            INSERT INTO runs VALUES ('{RUN}', 'first', 'ada', 'FINISHED', 1796087834522, 1796087834541, 'active',
                '{artifacts.as_uri()}', 1);
            INSERT INTO params VALUES ('lr', '0.1', '{RUN}'), ('opt/name', 'adam', '{RUN}');
            INSERT INTO latest_metrics VALUES ('loss', 2.5, 2, 2, 0, '{RUN}'), ('eval/acc', 0.5, 1, 0, 0, '{RUN}');
            INSERT INTO tags VALUES ('mlflow.user', 'ada', '{RUN}'), ('mlflow.runName', 'first', '{RUN}'),
                ('mlflow.source.git.commit', '{"ab" * 20}', '{RUN}');
            INSERT INTO inputs VALUES ('{_INPUT}', 'DATASET', '{_DATASET}', 'RUN', '{RUN}');
            INSERT INTO datasets VALUES ('{_DATASET}', 'pystd', '9f2e11aa', 'local',
                '{{"uri": "data/train of a name that is so long that it goes on"}}');
            INSERT INTO input_tags VALUES ('{_INPUT}', 'mlflow.data.context', 'training');
            """
        )
    return RUN
