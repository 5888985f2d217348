"""How tests are shared out between workers: whole files, and the long ones first.

What a file's tests share, a lab with its processes or a founded ceremony, is then made once, by the one worker that runs the
file; handed out test by test, each worker would make it. A mark `xdist_group` keeps several files together. What takes long is
begun first, so that workers end within a short file of each other.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import pytest
from xdist.scheduler.loadgroup import LoadGroupScheduling  # type: ignore[import-untyped]  # it has none

__all__ = ["LONG", "TOGETHER", "WholeFiles", "long_first", "shares_with"]

LONG = (
    "tests/takeover/",
    "tests/keys/",
    "tests/gates/bastion/",
    "tests/gates/host/",
    "tests/gates/postgres/",
    "tests/docs/",
    "tests/service/",
    "tests/standing/",
    "tests/gates/",
    "tests/wiring/",
    "tests/adapters/",
    "tests/packaging/",
    "tests/cli/",
)
"""Where files take long, the longest groups first; all others come afterwards."""
TOGETHER = ("tests/gates/bastion/",)
"""Folders whose files share a lab."""

T = TypeVar("T", bound=pytest.Item)


class WholeFiles(LoadGroupScheduling):  # type: ignore[misc]  # as above
    """Gives each worker one group, folder of `TOGETHER` or file after another."""

    def _split_scope(self, nodeid: str) -> str:
        group = str(super()._split_scope(nodeid))
        return group if group != nodeid else shares_with(nodeid)


def shares_with(nodeid: str) -> str:
    """The folder of `TOGETHER` or the file whose tests share something with the test `nodeid`."""
    return next((folder for folder in TOGETHER if nodeid.startswith(folder)), nodeid.partition("::")[0])


def long_first(items: Iterable[T]) -> list[T]:
    """Sort tests by `LONG`, which leaves the order within a folder as it is."""

    def rank(item: T) -> int:
        return next((at for at, folder in enumerate(LONG) if item.nodeid.startswith(folder)), len(LONG))

    return sorted(items, key=rank)
