"""One real lab for all take-over tests: founded, run and fed by the real command line, with a model under custody."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from support.old_gate import frozen
from support.taken_lab import TakenLab, build, found, serving


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TakenLab]:
    """The lab, running, with its model built. Every test leaves it in a state in which honest people get through."""
    lab = found(tmp_path_factory.mktemp("takeover"))
    with serving(lab):
        build(lab)
        yield lab


@pytest.fixture(scope="session", autouse=True)
def old_gate(lab: TakenLab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Future[set[str]]]:
    """What an old gate says before a log that stands still. It takes half a minute, in which the others are tested."""
    with frozen(lab, tmp_path_factory.mktemp("frozen")) as codes:
        yield codes
