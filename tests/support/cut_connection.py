"""Stand between a client and PostgreSQL, and cut the connection at the n-th request: before it arrives, or before its answer
does.

The client then knows the same in both cases, and the server does not. Everything after the cut passes, or nothing does.
"""

from __future__ import annotations

import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

__all__ = ["Cutter", "cutting"]

_SOCKET = ".s.PGSQL.5432"
Lost = Literal["request", "answer"]


class Cutter:
    """Passes requests on and counts them. Made by `cutting`."""

    def __init__(self, directory: Path, server: Path) -> None:
        self.directory = directory
        self._server = server
        self._lock = threading.Lock()
        self._left = 0
        self._lost: Lost = "request"
        self._for_good = False
        self._away = False
        self.requests: list[bytes] = []
        """What was asked since `cut_at`, the last one cut."""

    @property
    def has_cut(self) -> bool:
        return self._left < 0

    def cut_at(self, number: int, lost: Lost, *, for_good: bool = False) -> None:
        """Cut at the `number`-th request from now; with `for_good`, nobody gets through any more."""
        with self._lock:
            self._left, self._lost, self._for_good, self.requests = number, lost, for_good, []

    def come_back(self) -> None:
        """Let everybody through again."""
        self._away = False

    def serve(self, listening: socket.socket) -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=self._pass, args=(client,), daemon=True).start()

    def _pass(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server, suppress(OSError, EOFError):
            if self._away:
                return
            server.connect(str(self._server / _SOCKET))
            startup = _exactly(client, 4)
            server.sendall(startup + _exactly(client, int.from_bytes(startup, "big") - 4))
            client.sendall(_messages(server, b"Z"))
            while True:
                request = _messages(client, b"QSX")
                cut = self._counts(request)
                if cut and self._lost == "request":
                    return
                server.sendall(request)
                if request.startswith(b"X"):
                    return
                answer = _messages(server, b"Z")
                if cut:
                    return
                client.sendall(answer)

    def _counts(self, request: bytes) -> bool:
        with self._lock:
            if self._left <= 0:
                return False
            self.requests.append(request)
            self._left -= 1
            if self._left:
                return False
            self._left = -1
            self._away = self._for_good
            return True


@contextmanager
def cutting(server: Path) -> Iterator[Cutter]:
    """Stand before the server whose socket is in `server`."""
    with (
        tempfile.TemporaryDirectory(prefix="cut-", dir="/tmp") as directory,
        socket.socket(socket.AF_UNIX) as listening,
    ):
        listening.bind(f"{directory}/{_SOCKET}")
        listening.listen()
        cutter = Cutter(Path(directory), server)
        threading.Thread(target=cutter.serve, args=(listening,), daemon=True).start()
        try:
            yield cutter
        finally:
            listening.shutdown(socket.SHUT_RDWR)


def _messages(source: socket.socket, last: bytes) -> bytes:
    """Messages up to one of a type in `last`."""
    found = b""
    while True:
        head = _exactly(source, 5)
        found += head + _exactly(source, int.from_bytes(head[1:], "big") - 4)
        if head[:1] in [last[i : i + 1] for i in range(len(last))]:
            return found


def _exactly(source: socket.socket, length: int) -> bytes:
    found = b""
    while len(found) < length:
        chunk = source.recv(length - len(found))
        if not chunk:
            raise EOFError
        found += chunk
    return found
