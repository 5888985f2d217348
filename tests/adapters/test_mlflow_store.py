"""What MLflow says of a run is read from its files and its database alike, and nothing is made up."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from keyturn.adapters import mlflow_store
from keyturn.adapters.mlflow_store import MlflowDataset, MlflowMetric
from keyturn.errors import KeyturnError, Malformed
from support.mlflow_stores import RUN, write_database, write_mlruns


def test_the_same_run_says_the_same_from_files_and_from_a_database(tmp_path: Path) -> None:
    artifacts = tmp_path / "artifacts"
    write_mlruns(tmp_path / "mlruns", artifacts=artifacts)
    write_database(tmp_path / "mlflow.db", artifacts=artifacts)
    found = mlflow_store.run_of(tmp_path / "mlruns", RUN)
    assert mlflow_store.run_of(tmp_path / "mlflow.db", RUN).document() == found.document()
    assert (found.user, found.status, found.experiment, found.commit) == ("ada", "FINISHED", "pystd", "ab" * 20)
    assert found.params == {"lr": "0.1", "opt/name": "adam"}
    assert found.metrics == {"loss": MlflowMetric("2.5", "2"), "eval/acc": MlflowMetric("0.5", "0")}
    source = '{"uri": "data/train of a name that is so long that it goes on"}'
    assert found.datasets == (MlflowDataset("pystd", "9f2e11aa", "local", source, {"mlflow.data.context": "training"}),)
    assert mlflow_store.local_artifacts(found) is None
    artifacts.mkdir()
    (artifacts / "a").write_text("a")
    assert mlflow_store.local_artifacts(found) == artifacts


@pytest.mark.parametrize(
    ("what", "code"),
    [
        pytest.param({"status": "1"}, "mlflow-run-open", id="a run that goes on"),
        pytest.param({"stage": "deleted"}, "mlflow-run-deleted", id="a run that was deleted"),
    ],
)
def test_a_run_that_is_none_to_take_in_is_refused(tmp_path: Path, what: dict[str, str], code: str) -> None:
    write_mlruns(tmp_path, artifacts=tmp_path / "a", **what)
    with pytest.raises(KeyturnError) as caught:
        mlflow_store.run_of(tmp_path, RUN)
    assert caught.value.code == code


def test_what_is_no_store_or_has_no_such_run_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"SQLite format 3\x00 and no more")
    codes = []
    for store, run in ((tmp_path, "0" * 32), (tmp_path / "file", RUN), (tmp_path, "../../etc")):
        with pytest.raises(KeyturnError) as caught:
            mlflow_store.run_of(store, run)
        codes.append(caught.value.code)
    assert codes == ["mlflow-run-unknown", "mlflow-store", "mlflow-run-id"]


@pytest.mark.parametrize("uri", ["s3://bucket/x", "mlflow-artifacts:/1/x", "file://elsewhere/x"])
def test_artifacts_that_lie_elsewhere_are_not_none(tmp_path: Path, uri: str) -> None:
    write_mlruns(tmp_path, artifacts=tmp_path / "a")
    (meta,) = tmp_path.glob(f"*/{RUN}/meta.yaml")
    meta.write_text(meta.read_text().replace((tmp_path / "a").as_uri(), uri))
    with pytest.raises(KeyturnError) as caught:
        mlflow_store.local_artifacts(mlflow_store.run_of(tmp_path, RUN))
    assert caught.value.code == "mlflow-artifacts-elsewhere"


@pytest.mark.parametrize(
    "text",
    [
        "no colon",
        "a: |",
        "a: !!python/object x",
        "a: &x y",
        "a: {b: c}",
        'a: "open',
        "a: 'open",
        "  inner: first",
        "- a: b",
    ],
)
def test_yaml_that_mlflow_does_not_write_is_refused(text: str) -> None:
    with pytest.raises(Malformed, match="mlflow-yaml"):
        mlflow_store.flat_yaml(text)


def test_yaml_as_mlflow_writes_it_is_read() -> None:
    text = "a: 'it''s'\nb: \"x\\ny\"\nc: null\nd:\n  e: 1\n  f: g\n    h\ni: j\n  k\n"
    assert mlflow_store.flat_yaml(text) == {
        "a": "it's",
        "b": "x\ny",
        "c": "",
        "d": {"e": "1", "f": "g h"},
        "i": "j k",
    }


@pytest.mark.parametrize("at", ["params/secret", "params", "tags/deep", "meta.yaml"])
def test_a_strangers_store_has_no_links_to_what_its_reader_may_read(tmp_path: Path, at: str) -> None:
    write_mlruns(tmp_path / "mlruns", artifacts=tmp_path / "a")
    secret = tmp_path / "secret"
    if at == "params":
        secret.mkdir()
    (secret / "key" if at == "params" else secret).write_text("lifecycle_stage: SECRET\n")
    (run,) = (tmp_path / "mlruns").glob(f"*/{RUN}")
    place = run / at
    if place.exists():
        place.rename(tmp_path / "aside")
    place.symlink_to(secret)
    with pytest.raises(Malformed) as caught:
        mlflow_store.run_of(tmp_path / "mlruns", RUN)
    assert caught.value.code == "mlflow-store"


@pytest.mark.parametrize(
    "view",
    [
        f"WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM n) SELECT x key, x value, '{RUN}' run_uuid FROM n WHERE x<0",
        f"SELECT 'x' AS key, hex(zeroblob(500000000)) AS value, '{RUN}' AS run_uuid",
    ],
    ids=["that never ends", "of a gigabyte"],
)
def test_a_strangers_database_computes_nothing_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, view: str
) -> None:
    monkeypatch.setattr(mlflow_store, "_STEPS_MAX", 1_000_000)
    write_database(tmp_path / "mlflow.db", artifacts=tmp_path / "a")
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        database.executescript(f"DROP TABLE params; CREATE VIEW params AS {view};")
    with pytest.raises(Malformed) as caught:
        mlflow_store.run_of(tmp_path / "mlflow.db", RUN)
    assert caught.value.code == "mlflow-store"
