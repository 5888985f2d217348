"""Serve a log in this process, over HTTP, without admission: for what is promised of the log itself."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from keyturn.adapters.log_on_disk.log import LogOnDisk
from keyturn.adapters.postgres.log import LogInPostgres
from keyturn.app.records.submit import Submitted
from keyturn.formats.records import leaf_of
from keyturn.ports import RecordIndex
from keyturn.service.lab_service import create_app
from support.processes import wait_for

__all__ = ["AdmitAll", "serving"]


class AdmitAll:
    """Stands where `Admission` does: the contract is the log's, not admission's."""

    def __init__(self, log: LogOnDisk | LogInPostgres) -> None:
        self._log = log

    def submit(self, raw: bytes) -> Submitted:
        return Submitted(self._log.append(raw), leaf_of(raw))


@contextmanager
def serving(log: LogOnDisk | LogInPostgres, index: RecordIndex) -> Iterator[str]:
    app = create_app(
        admission=AdmitAll(log),  # type: ignore[arg-type]
        log=log,
        index=index,
        tile=log.tile,
        trust_file=lambda path: None,
        appended=lambda: None,
        processes=dict,
    )
    # As `service.shell` does: said to be TCP, or each answer waits 40 ms for a delayed acknowledgement.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as bound:
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
