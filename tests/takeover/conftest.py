"""One real lab for all take-over tests: founded, run and fed by the real command line, with a model under custody."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.taken_lab import TakenLab, build, found, serving


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TakenLab]:
    """The lab, running, with its model built. Every test leaves it in a state in which honest people get through."""
    lab = found(tmp_path_factory.mktemp("takeover"))
    with serving(lab):
        build(lab)
        yield lab
