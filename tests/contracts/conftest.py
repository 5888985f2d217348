"""Every adapter of the log, each as (keeper that is written, reader that is asked)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from keyturn.adapters.log_in_memory import LogInMemory
from keyturn.adapters.log_on_disk.erasing import LogOnDiskEraser
from keyturn.adapters.log_on_disk.index_sqlite import IndexSqlite
from keyturn.adapters.log_on_disk.log import LogOnDisk
from keyturn.adapters.log_on_disk.reader import LogOnDiskReader
from keyturn.adapters.over_http.log_over_http import LogOverHttp
from keyturn.adapters.postgres.erasing import EraserInPostgres
from keyturn.adapters.postgres.index import IndexInPostgres
from keyturn.adapters.postgres.log import LogInPostgres
from keyturn.adapters.postgres.reader import LogInPostgresReader
from support.postgresql import Store
from support.serving_log import serving


@pytest.fixture(
    params=[
        "in memory",
        "on disk",
        "on disk, read beside its writer",
        "over HTTP",
        "in PostgreSQL",
        "in PostgreSQL, read beside its writer",
        "in PostgreSQL, over HTTP",
    ]
)
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Any, Any, Any]]:
    """(keeper, writer, reader)"""
    if request.param == "in memory":
        memory = LogInMemory()
        yield memory, memory, memory
        return
    with ExitStack() as stack:
        if "PostgreSQL" in request.param:
            store: Store = request.getfixturevalue("store")
            connections = stack.enter_context(closing(store.connections()))
            keeper = stack.enter_context(LogInPostgres(connections))
            match request.param:
                case "in PostgreSQL":
                    yield keeper, keeper, keeper
                case "in PostgreSQL, over HTTP":
                    client = LogOverHttp(stack.enter_context(serving(keeper, IndexInPostgres(connections))))
                    yield keeper, client, client
                case _:
                    beside = stack.enter_context(closing(store.connections()))
                    yield keeper, keeper, LogInPostgresReader(beside)
            return
        index = IndexSqlite(tmp_path / "index.sqlite")
        stack.callback(index.close)
        disk = stack.enter_context(LogOnDisk(tmp_path / "log", index))
        match request.param:
            case "on disk":
                yield disk, disk, disk
            case "over HTTP":
                client = LogOverHttp(stack.enter_context(serving(disk, index)))
                yield disk, client, client
            case _:
                other = IndexSqlite(tmp_path / "index.sqlite")
                stack.callback(other.close)
                yield disk, disk, LogOnDiskReader(tmp_path / "log", other)


@pytest.fixture(params=["in memory", "on disk", "in PostgreSQL"])
def eraser(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Any, Any]]:
    """(keeper, `LogEraser.erase` of its log)"""
    if request.param == "in memory":
        memory = LogInMemory()
        yield memory, memory.erase
        return
    with ExitStack() as stack:
        if request.param == "in PostgreSQL":
            store: Store = request.getfixturevalue("store")
            keeper = stack.enter_context(LogInPostgres(stack.enter_context(closing(store.connections()))))
            owner = stack.enter_context(closing(store.connections("owner")))
            yield keeper, EraserInPostgres(owner).erase
            return
        index = IndexSqlite(tmp_path / "index.sqlite")
        stack.callback(index.close)
        yield stack.enter_context(LogOnDisk(tmp_path / "log", index)), LogOnDiskEraser(tmp_path / "log").erase
