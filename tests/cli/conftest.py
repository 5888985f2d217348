"""Labs at which commands are typed: none, one that is founding, one that is published and does not run, one that runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.members import People
from support.typed_commands import furnish, publish


@pytest.fixture(scope="module")
def nowhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("nowhere")
    furnish(place)
    return place


@pytest.fixture(scope="module")
def founding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    people = People(tmp_path_factory.mktemp("founding"))
    people.found()
    furnish(people.place)
    return people.place


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish(tmp_path_factory.mktemp("stopped")).place


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    people = publish(tmp_path_factory.mktemp("live"))
    with people.served():
        yield people.place
