"""Read one run from where MLflow keeps it: a directory `mlruns`, or a SQLite database. MLflow itself is not needed, nor run.

What is there is said by whoever could write there: MLflow signs nothing, and neither params nor dataset digests (eight digits of
something) are evidence. So this gives a document of what MLflow says, and no more. Follows MLflow 3.17: its `FileStore`, and the
tables `experiments`, `runs`, `params`, `latest_metrics`, `tags`, `inputs`, `datasets`, `input_tags` of its `SqlAlchemyStore`.

A store may be a stranger's: no file of it is a link to elsewhere, and a database has a bounded time and bounded texts (its tables
may be views, which compute). Where its artifacts lie it says freely, so that is shown before anybody signs.

This is NOT a client of a tracking server, and fetches no artifacts: they must lie on this machine.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec

from keyturn.adapters.files.plain_files import read_plain
from keyturn.errors import Malformed, Refused, Unavailable, Usage

__all__ = ["MlflowDataset", "MlflowMetric", "MlflowRun", "flat_yaml", "local_artifacts", "run_of"]

_RUN = re.compile(r"[0-9a-f]{32}\Z")
_LINE = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.\-/ ]{0,249}):(?: (.*))?\Z")
_TEXT_BYTES_MAX = 1 << 20
_ITEMS_MAX = 10_000
_STEPS_MAX = 50_000_000
_STATUS = {"1": "RUNNING", "2": "SCHEDULED", "3": "FINISHED", "4": "FAILED", "5": "KILLED"}


class MlflowMetric(msgspec.Struct, frozen=True):
    """The last value of a metric, as text, and at which step."""

    value: str
    step: str


class MlflowDataset(msgspec.Struct, frozen=True):
    """A dataset that the run logged as its input; `digest` is what MLflow calls so."""

    name: str
    digest: str
    source_type: str
    source: str
    tags: dict[str, str]


class MlflowRun(msgspec.Struct, frozen=True, kw_only=True):
    """What MLflow says of a run."""

    run: str
    name: str
    experiment: str
    user: str
    status: str
    started_at_ms: str
    ended_at_ms: str
    artifact_uri: str
    commit: str
    params: dict[str, str]
    metrics: dict[str, MlflowMetric]
    tags: dict[str, str]
    datasets: tuple[MlflowDataset, ...]

    def document(self) -> bytes:
        """What is digested and kept: the same run gives the same bytes."""
        said = {"format": "https://keyturn.dev/mlflow-run/v1", "said_by": "MLflow, which signs nothing"}
        fields = {key: value for key, value in msgspec.to_builtins(self).items() if key != "artifact_uri"}
        return msgspec.json.format(msgspec.json.encode(said | fields, order="sorted"), indent=2) + b"\n"


def run_of(store: Path, run: str) -> MlflowRun:
    """The run with this id in `store`; `Refused` for one that has not ended or was deleted, `Malformed` for no such store."""
    if not _RUN.match(run):
        raise Usage("mlflow-run-id", f"expected 32 hex digits, got `{run[:60]}`", hint="mlflow runs list, or its page")
    try:
        found, stage = _of_database(store, run) if store.is_file() else _of_directory(store, run)
    except (OSError, UnicodeError) as err:
        raise Malformed("mlflow-store", f"`{store}` is no store that MLflow 3 writes: {err}") from err
    except sqlite3.Error as err:
        raise Malformed("mlflow-store", f"`{store}` is no tracking database of MLflow 3: {err}") from err
    if stage != "active":
        raise Refused("mlflow-run-deleted", f"run `{run}` was deleted in MLflow", hint="mlflow runs restore")
    if found.status in ("RUNNING", "SCHEDULED"):
        raise Refused("mlflow-run-open", f"run `{run}` has not ended: it is {found.status}", hint="wait until it ended")
    return found


def local_artifacts(run: MlflowRun) -> Path | None:
    """Where the run's artifacts lie on this machine; None when it has none, `Unavailable` when they are elsewhere."""
    split = urlsplit(run.artifact_uri)
    if split.scheme not in ("", "file") or split.netloc not in ("", "localhost"):
        raise Unavailable(
            "mlflow-artifacts-elsewhere",
            f"the artifacts of run `{run.run}` are at `{run.artifact_uri[:200]}`",
            hint="mlflow artifacts download --run-id RUN --dst-path DIR, then --artifacts DIR",
        )
    place = Path(unquote(split.path)).resolve()
    return place if place.is_dir() and any(place.iterdir()) else None


def _of_directory(store: Path, run: str) -> tuple[MlflowRun, str]:
    places = [place for place in store.glob(f"*/{run}") if (place / "meta.yaml").is_file()]
    if len(places) != 1:
        raise _unknown(store, run)
    (place,) = places
    meta, experiment = flat_yaml(_text(place / "meta.yaml")), flat_yaml(_text(place.parent / "meta.yaml"))
    tags = dict(_values(place / "tags"))
    metrics = {}
    for name, text in _values(place / "metrics"):
        last = text.strip().splitlines()[-1].split(" ") if text.strip() else []
        if len(last) < 2:
            raise Malformed("mlflow-store", f"metric `{name[:80]}`: expected `<time> <value> <step>`")
        metrics[name] = MlflowMetric(last[1], last[2] if len(last) > 2 else "0")
    datasets = []
    for entry in sorted((place / "inputs").glob("*/meta.yaml")):
        link = flat_yaml(_text(entry))
        if link.get("source_type") != "DATASET" or not _RUN.match(str(link.get("source_id"))):
            continue
        said = flat_yaml(_text(place.parent / "datasets" / str(link["source_id"]) / "meta.yaml"))
        more = link.get("tags")
        datasets.append(_dataset(said, dict(more) if isinstance(more, Mapping) else {}))
    status = str(meta.get("status", ""))
    return (
        _run(
            run,
            {**meta, "status": _STATUS.get(status, status)},
            experiment,
            dict(_values(place / "params")),
            metrics,
            tags,
            datasets,
        ),
        str(meta.get("lifecycle_stage", "")),
    )


def _of_database(store: Path, run: str) -> tuple[MlflowRun, str]:
    uri = f"{store.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as database:
        database.row_factory = sqlite3.Row
        database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 16 * _TEXT_BYTES_MAX)
        database.set_progress_handler(lambda: 1, _STEPS_MAX)
        database.execute("PRAGMA trusted_schema = OFF")

        def rows(query: str, *given: object) -> list[dict[str, object]]:
            return [dict(row) for row in database.execute(f"{query} LIMIT {_ITEMS_MAX}", given)]

        found = rows("SELECT * FROM runs WHERE run_uuid = ?", run)
        if not found:
            raise _unknown(store, run)
        experiments = rows("SELECT name FROM experiments WHERE experiment_id = ?", found[0]["experiment_id"])
        params = {str(r["key"]): str(r["value"]) for r in rows("SELECT key, value FROM params WHERE run_uuid = ?", run)}
        tags = {str(r["key"]): str(r["value"]) for r in rows("SELECT key, value FROM tags WHERE run_uuid = ?", run)}
        metrics = {
            str(r["key"]): MlflowMetric("nan" if r["is_nan"] else str(r["value"]), str(r["step"]))
            for r in rows("SELECT key, value, step, is_nan FROM latest_metrics WHERE run_uuid = ?", run)
        }
        datasets = []
        for one in rows(
            "SELECT i.input_uuid, d.name, d.digest, d.dataset_source_type AS source_type, d.dataset_source AS source"
            " FROM inputs i JOIN datasets d ON d.dataset_uuid = i.source_id"
            " WHERE i.source_type = 'DATASET' AND i.destination_type = 'RUN' AND i.destination_id = ?"
            " ORDER BY d.name, d.digest",
            run,
        ):
            more = rows("SELECT name, value FROM input_tags WHERE input_uuid = ?", one["input_uuid"])
            datasets.append(_dataset(one, {str(r["name"]): str(r["value"]) for r in more}))
    experiment = experiments[0] if experiments else {}
    return _run(run, found[0], experiment, params, metrics, tags, datasets), str(found[0]["lifecycle_stage"])


def _run(
    run: str,
    meta: Mapping[str, object],
    experiment: Mapping[str, object],
    params: dict[str, str],
    metrics: dict[str, MlflowMetric],
    tags: dict[str, str],
    datasets: list[MlflowDataset],
) -> MlflowRun:
    def said(name: str) -> str:
        value = meta.get(name)
        return "" if value is None else str(value)

    return MlflowRun(
        run=run,
        name=tags.get("mlflow.runName") or said("run_name") or said("name"),
        experiment=str(experiment.get("name", "")),
        user=tags.get("mlflow.user") or said("user_id"),
        status=said("status"),
        started_at_ms=said("start_time"),
        ended_at_ms=said("end_time"),
        artifact_uri=said("artifact_uri"),
        commit=tags.get("mlflow.source.git.commit", ""),
        params=params,
        metrics=metrics,
        tags=tags,
        datasets=tuple(sorted(datasets, key=lambda one: (one.name, one.digest))),
    )


def _dataset(said: Mapping[str, object], tags: dict[str, str]) -> MlflowDataset:
    name, digest, kind, source = (str(said.get(one) or "") for one in ("name", "digest", "source_type", "source"))
    return MlflowDataset(name, digest, kind, source, tags)


def flat_yaml(text: str) -> dict[str, object]:
    """Parse a `meta.yaml` as MLflow writes it: names, each with one text or one level of names with texts; nothing else."""
    found: dict[str, object] = {}
    name = inner = ""
    for line in text.splitlines():
        deeper = line.startswith("  ")
        match = _LINE.match(line.strip() if deeper else line)
        if not deeper:
            if match is None:
                raise _not_flat(line)
            name, inner = match[1], ""
            found[name] = match[2] or ""
        elif match is not None and (found.get(name) == "" or isinstance(found.get(name), dict)):
            table = found[name] if isinstance(found[name], dict) else {}
            assert isinstance(table, dict)
            inner = match[1]
            found[name] = {**table, inner: match[2] or ""}
        elif isinstance(table := found.get(name), dict):
            found[name] = {**table, inner: f"{table[inner]} {line.strip()}"}
        elif name:
            found[name] = f"{found[name]} {line.strip()}"  # a long text goes on in the next line
        else:
            raise _not_flat(line)
    return {
        key: {k: _scalar(v) for k, v in value.items()} if isinstance(value, dict) else _scalar(str(value))
        for key, value in found.items()
    }


def _scalar(text: str) -> str:
    if text in ("null", "~"):
        return ""
    if text.startswith("'"):
        if len(text) < 2 or not text.endswith("'"):
            raise _not_flat(text)
        return text[1:-1].replace("''", "'")
    if text.startswith('"'):
        try:
            return str(json.loads(text))
        except ValueError as err:
            raise _not_flat(text) from err
    if text[:1] in ("|", ">", "&", "*", "!", "{", "%", "@", "`"):
        raise _not_flat(text)
    return text


def _values(place: Path) -> Iterator[tuple[str, str]]:
    if place.is_symlink():
        raise Malformed("mlflow-store", f"`{place}` is a link: MLflow writes none", hint="who made that store?")
    for count, path in enumerate(sorted(one for one in place.rglob("*") if one.is_file() or one.is_symlink())):
        if count >= _ITEMS_MAX:
            raise Malformed("mlflow-store", f"expected at most {_ITEMS_MAX} files in `{place.name}`")
        yield path.relative_to(place).as_posix(), _text(path)


def _text(path: Path) -> str:
    if path.resolve() != path.parent.resolve() / path.name:
        raise Malformed("mlflow-store", f"`{path}` is a link: MLflow writes none", hint="who made that store?")
    return read_plain(path, size_bytes_max=_TEXT_BYTES_MAX).decode()


def _unknown(store: Path, run: str) -> Refused:
    return Refused("mlflow-run-unknown", f"`{store}` has no run `{run}`", hint="--mlflow names another one")


def _not_flat(line: str) -> Malformed:
    return Malformed(
        "mlflow-yaml",
        f"expected a `meta.yaml` as MLflow writes them, found `{line[:80]}`",
        hint="mlflow migrate-filestore makes a database of the directory: --mlflow mlflow.db",
    )
