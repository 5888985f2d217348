"""Keep the ledger of standing access in one file, changed by one process at a time and whole at every instant."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from keyturn.adapters.files import durable_files
from keyturn.errors import Malformed, Unavailable
from keyturn.standing import ledger
from keyturn.standing.ledger import Ledger

__all__ = ["LedgerFile"]


class LedgerFile:
    """The ledger in the file `path`, which need not be there."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes from changing it meanwhile."""
        lock = self._path.with_name(f".{self._path.name}.lock")
        try:
            durable_files.make_directories(self._path.parent, mode=0o700)
            fd = os.open(lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as err:
            raise self._failed("written", err) from err
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def read(self) -> Ledger:
        """What it says; an empty one when there is none. `Unavailable` when what is there is no ledger: it is not begun anew."""
        try:
            with self._path.open("rb") as file:
                raw = file.read(ledger.SIZE_BYTES_MAX + 1)
            return ledger.parse(raw)
        except FileNotFoundError:
            return ledger.EMPTY
        except OSError as err:
            raise self._failed("read", err) from err
        except Malformed as err:
            raise Unavailable(
                "ledger-unreadable",
                f"`{self._path}` is no ledger of standing access: {err.message}",
                hint="keep it aside, and scan again: what was accepted is to be accepted anew",
            ) from err

    def keep(self, value: Ledger) -> None:
        """Put `value` in its place, durably."""
        try:
            durable_files.replace(self._path, ledger.render(value), mode=0o600, directory_mode=0o700)
        except OSError as err:
            raise self._failed("written", err) from err

    def _failed(self, done: str, err: OSError) -> Unavailable:
        return Unavailable(
            "ledger-unreadable",
            f"the ledger `{self._path}` cannot be {done}: {err.strerror}",
            hint="--ledger names one that this user may write",
        )
