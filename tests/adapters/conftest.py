"""A disk that fails, or whose power is cut, at the n-th operation; and a log on it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from keyturn.adapters.log_on_disk.disk import Disk, PosixDisk
from keyturn.adapters.log_on_disk.index_sqlite import IndexSqlite
from keyturn.adapters.log_on_disk.log import LogOnDisk
from support.power import Power


class FailingDisk:
    """Does what `PosixDisk` does until operation `fail_at`, of which it does `part` (0 to 1) if that is an append.

    From then on everything fails, as for a process that is gone. `survives` says how much of what no sync made durable
    is there afterwards: `all` (the process died), `nothing` (the power went: no content, no name, no rename), or `zeros`
    (the power went, and what files had grown by is zeros).
    """

    def __init__(self, power: Power, *, fail_at: int, part: float = 0.0, survives: str = "all") -> None:
        power.begin()
        self._power = power
        self._disk = PosixDisk()
        self._left = fail_at
        self._part = part
        self._survives = survives
        self._unsynced: dict[str, int] = {}
        self.failed = False

    def fail_in(self, operations: int) -> None:
        """Fail at the `operations`-th operation from now, the next being the first."""
        self._left = operations

    def create(self, path: Path) -> None:
        self._step(None)
        self._disk.create(path)

    def append(self, fd: int, raw: bytes, *, at: int) -> None:
        name = os.readlink(f"/proc/self/fd/{fd}")
        self._unsynced.setdefault(name, at)
        self._step(lambda: self._disk.append(fd, raw[: int(len(raw) * self._part)], at=at))
        self._disk.append(fd, raw, at=at)

    def sync(self, fd: int) -> None:
        self._step(None)
        self._disk.sync(fd)
        self._unsynced.pop(os.readlink(f"/proc/self/fd/{fd}"), None)

    def cut(self, fd: int, *, at: int) -> None:
        self._step(None)
        self._disk.cut(fd, at=at)

    def overwrite(self, fd: int, raw: bytes, *, at: int) -> None:
        self._step(lambda: self._disk.append(fd, raw[: int(len(raw) * self._part)], at=at))
        self._disk.overwrite(fd, raw, at=at)

    def remove(self, path: Path) -> None:
        self._step(None)
        self._disk.remove(path)

    def replace(self, path: Path, raw: bytes, *, durable: bool) -> None:
        self._step(None)
        self._disk.replace(path, raw, durable=durable)

    def _step(self, partly: Callable[[], None] | None) -> None:
        self._left -= 1
        if self._left > 0 and not self.failed:
            return
        if not self.failed:
            self.failed = True
            if partly is not None:
                partly()
            self._lose()
        raise OSError(5, "the power was cut")

    def _lose(self) -> None:
        if self._survives == "nothing":
            self._power.cut()
        if self._survives == "zeros":
            for name, synced in self._unsynced.items():
                size = os.stat(name).st_size
                os.truncate(name, synced)
                os.truncate(name, size)


@pytest.fixture
def power(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Power]:
    with Power(tmp_path, monkeypatch) as power:
        yield power


@pytest.fixture
def failing_disk(power: Power) -> Callable[..., FailingDisk]:
    return partial(FailingDisk, power)


@pytest.fixture
def open_log(tmp_path: Path) -> Callable[..., contextmanager]:
    @contextmanager
    def opened(*, disk: Disk | None = None, pack_bytes_max: int = 1 << 20) -> Iterator[LogOnDisk]:
        index = IndexSqlite(tmp_path / "index.sqlite")
        try:
            log = LogOnDisk(tmp_path / "log", index, disk=disk, pack_bytes_max=pack_bytes_max)
            try:
                yield log
            finally:
                log.close()
        finally:
            index.close()

    return opened
