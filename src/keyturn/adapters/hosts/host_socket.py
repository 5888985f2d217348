"""Answer sshd's helper at a Unix socket: one question and one answer for each connection to it.

    ada\\nssh-ed25519 AAAA...\\n     ->     restrict,...,command="..." ssh-ed25519 AAAA...\\n     or nothing

Who may ask is said by the kernel (SO_PEERCRED): the user of AuthorizedKeysCommandUser, and root. An answer is nothing at all
unless it is whole; whoever asks slowly, or too much, gets nothing.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from keyturn.errors import KeyturnError, Unavailable

__all__ = ["HostSocket"]

_QUESTION_BYTES_MAX = 2048
_QUESTION_WITHIN_S = 5.0
_THREADS = 64
_CREDENTIALS = struct.Struct("3i")


class HostSocket:
    """Answers at `path` until closed. `answer` gets the account, the key's line, and the id of the process that asks."""

    def __init__(self, path: Path, *, group: int, users: frozenset[int]) -> None:
        self._users = users
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="sshd")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
            path.unlink(missing_ok=True)
            self._socket.bind(str(path))
            os.chown(path, -1, group)
            path.chmod(0o660)
            self._socket.listen(128)
        except OSError as err:
            self._socket.close()
            raise Unavailable(
                "host-socket", f"cannot answer at `{path}`: {err.strerror}", hint="run it as root"
            ) from err

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def serve(self, answer: Callable[[str, str, int], str]) -> None:
        """Answer until the socket is closed."""
        while True:
            try:
                asked, _ = self._socket.accept()
            except OSError:
                return
            self._pool.submit(self._answer, asked, answer)

    def _answer(self, asked: socket.socket, answer: Callable[[str, str, int], str]) -> None:
        with asked, suppress(OSError, ValueError, KeyturnError):
            asked.settimeout(_QUESTION_WITHIN_S)
            pid, uid, _ = _CREDENTIALS.unpack(
                asked.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            )
            if uid not in self._users:
                return
            question = b""
            while len(question) <= _QUESTION_BYTES_MAX and (chunk := asked.recv(4096)):
                question += chunk
            account, line, rest = question.decode("ascii").split("\n", 2)
            if rest == "":
                asked.sendall(answer(account, line, pid).encode("ascii") + b"\n")
