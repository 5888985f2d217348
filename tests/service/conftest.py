"""A published lab on disk whose log and witness run as real processes; a builder, and an order of a step at it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from keyturn.adapters.over_http.builder_over_http import JobState, Order
from keyturn.service.builder_service import BuilderService
from support.builders import Place, finish
from support.lab_on_disk import LabOnDisk, put_on_disk
from support.labs import make_lab


@pytest.fixture
def make_lab_on_disk(tmp_path: Path) -> Callable[..., LabOnDisk]:
    def make(*, witnesses: tuple[str, ...] = ("north",), in_log: bool = True, store: str | None = None) -> LabOnDisk:
        lab = make_lab(now=int(time.time()), witnesses=witnesses)
        return put_on_disk(lab, tmp_path / "lab", in_log=in_log, store=store)

    return make


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, make_lab(humans=("ada", "bob")))


@pytest.fixture
def run(place: Place) -> Iterator[Callable[..., JobState]]:
    """Order a step of a running builder, and wait until it is done or failed."""
    service = BuilderService(place.parts())
    service.start()

    def run_it(order: Order) -> JobState:
        return finish(service, service.order(order).job)

    yield run_it
    service.stop()
