"""Connections to a store, and a log of three batches in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from keyturn.adapters.postgres.connections import Connections
from keyturn.adapters.postgres.log import LogInPostgres
from keyturn.formats.records import leaf_of
from keyturn.tlog.frontier import Frontier
from support.batches_in_postgresql import RECORDS
from support.postgresql import Store


@pytest.fixture
def connections(store: Store) -> Iterator[Connections]:
    with closing(store.connections()) as connections:
        yield connections


@pytest.fixture
def three_batches(connections: Connections) -> Frontier:
    with LogInPostgres(connections) as log:
        for start in (0, 3, 6):
            log.append_leaves([(record, leaf_of(record)) for record in RECORDS[start : start + 3]])
        return log.settle()
