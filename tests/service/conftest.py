"""A published lab on disk whose log and witness run as real processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support.lab_on_disk import LabOnDisk, put_on_disk
from support.labs import make_lab


@pytest.fixture
def make_lab_on_disk(tmp_path: Path) -> Callable[..., LabOnDisk]:
    def make(*, witnesses: tuple[str, ...] = ("north",), in_log: bool = True, store: str | None = None) -> LabOnDisk:
        lab = make_lab(now=int(time.time()), witnesses=witnesses)
        return put_on_disk(lab, tmp_path / "lab", in_log=in_log, store=store)

    return make
