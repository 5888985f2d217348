"""One lab with a host behind a gate, for all tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.hosts import Host, HostsLab, hosts_lab


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostsLab]:
    with hosts_lab(tmp_path_factory.mktemp("hosts")) as found:
        yield found


@pytest.fixture(scope="module")
def host(lab: HostsLab) -> Host:
    return lab.host("gpu1")
