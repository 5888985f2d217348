"""What holds for every test: properties are judged by their examples, the same at each run, and never by the clock; and each
file's tests are run by one worker.

`make fuzz` is where other examples are looked for.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from support.openid import OpenIdProvider, running_provider
from support.postgresql import Cluster, Store, running_cluster
from support.whole_files import WholeFiles, long_first

settings.register_profile(
    "keyturn", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("keyturn")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items[:] = long_first(items)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> WholeFiles | None:
    if config.getvalue("dist") != "loadgroup":
        return None
    config.option.loadscopereorder = False  # they come in the order of `long_first`, and not by their numbers
    return WholeFiles(config, log)


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
