"""What holds for every test: properties are judged by their examples, the same at each run, and never by the clock.

`make fuzz` is where other examples are looked for.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from support.openid import OpenIdProvider, running_provider
from support.postgresql import Cluster, Store, running_cluster

settings.register_profile(
    "keyturn", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("keyturn")


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL server for the session; started when the first test asks for it."""
    with running_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def provider() -> Iterator[OpenIdProvider]:
    """An OpenID provider for the session; started when the first test asks for it."""
    with running_provider() as provider:
        yield provider


@pytest.fixture
def store(cluster: Cluster) -> Store:
    """A database for one test, with the schema and nothing in it."""
    return cluster.store()
