"""A database behind a gate, for all tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.databases import DatabaseLab, database_lab


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseLab]:
    """A lab with a database and its gate, which runs; each test asks for itself."""
    with database_lab(tmp_path_factory.mktemp("database")) as found:
        found.start_gate()
        yield found
