"""One lab with a host behind a bastion, for all tests here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.bastions import Bastion, bastion_before
from support.hosts import HostsLab, hosts_lab


@pytest.fixture(scope="package")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostsLab]:
    with hosts_lab(tmp_path_factory.mktemp("bastion"), names=("gpu1",), bastions=("front",)) as found:
        yield found


@pytest.fixture(scope="package")
def bastion(lab: HostsLab) -> Bastion:
    host = lab.host("gpu1", more=("--behind", "front=127.0.0.1/32"))
    return bastion_before(lab, host)
