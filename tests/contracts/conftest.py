"""Every adapter of the log, each as (keeper that is written, reader that is asked)."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from keyturn.adapters.index_sqlite import IndexSqlite
from keyturn.adapters.log_in_memory import LogInMemory
from keyturn.adapters.log_on_disk.log import LogOnDisk
from keyturn.adapters.log_on_disk.reader import LogOnDiskReader
from keyturn.adapters.log_over_http import LogOverHttp
from keyturn.app.submit import Submitted
from keyturn.formats.records import leaf_of
from keyturn.service.log_service import create_app
from support.processes import wait_for


class AdmitAll:
    """Stands where `Admission` does: the contract is the log's, not admission's."""

    def __init__(self, log: LogOnDisk) -> None:
        self._log = log

    def submit(self, raw: bytes) -> Submitted:
        return Submitted(self._log.append(raw), leaf_of(raw))


@contextmanager
def serving(log: LogOnDisk, index: IndexSqlite) -> Iterator[str]:
    app = create_app(
        admission=AdmitAll(log),  # type: ignore[arg-type]
        log=log,
        index=index,
        tile=log.tile,
        trust_file=lambda path: None,
        appended=lambda: None,
    )
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="on"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
        thread.start()
        wait_for("the server", lambda: server.started or None)
        try:
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(params=["in memory", "on disk", "on disk, read beside its writer", "over HTTP"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Any, Any, Any]]:
    """(keeper, writer, reader)"""
    if request.param == "in memory":
        memory = LogInMemory()
        yield memory, memory, memory
        return
    with ExitStack() as stack:
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
