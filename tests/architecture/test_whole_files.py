"""How tests are shared out between workers: the folders that are named are there, and a file's tests stay together."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.whole_files import LONG, TOGETHER, shares_with

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("folder", [*LONG, *TOGETHER])
def test_a_folder_that_is_named_has_tests(folder: str) -> None:
    assert list((ROOT / folder).rglob("test_*.py"))


@pytest.mark.parametrize(
    ("nodeid", "place"),
    [
        pytest.param("tests/cli/test_a.py::test_b", "tests/cli/test_a.py", id="a file"),
        pytest.param("tests/cli/test_a.py::test_b[c::d]", "tests/cli/test_a.py", id="a case with colons"),
        pytest.param("tests/gates/bastion/test_a.py::test_b", "tests/gates/bastion/", id="a folder with one lab"),
    ],
)
def test_one_worker_runs_what_shares_something(nodeid: str, place: str) -> None:
    assert shares_with(nodeid) == place
