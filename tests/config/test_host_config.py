"""The gate.toml of a host gate: strict, and its own."""

from __future__ import annotations

import pytest

from keyturn.config import host_gate as host_config
from keyturn.config.host_gate import HostGateConfig
from keyturn.errors import KeyturnError
from keyturn.formats.uri import Uri

LEAST = HostGateConfig(
    name="gpu1",
    resource=Uri("acme.example", "gate", "gpu1"),
    host=Uri("acme.example", "host", "gpu1"),
    service="https://keyturn.acme.example",
    pinned_root="ab" * 32,
    user="keyturn-host",
)
MOST = HostGateConfig(
    name="gpu1",
    resource=LEAST.resource,
    host=LEAST.host,
    service=LEAST.service,
    pinned_root=LEAST.pinned_root,
    user="keyturn-host",
    log_age_max_s=60,
    witnesses_min=2,
    accounts=("ada", "root"),
    bastions={"keyturn://acme.example/gate/front": ("10.1.0.5/32", "2001:db8::/64")},
)


@pytest.mark.parametrize("value", [LEAST, MOST], ids=["the least", "the most"])
def test_a_host_config_reads_back_as_it_was(value: HostGateConfig) -> None:
    assert host_config.parse(host_config.render(value)) == value


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('kind = "host"', 'kind = "release"'),
        ('mode = "enforce"', 'mode = "open"'),
        ('mode = "enforce"', 'mode = "observe"'),
        ('mode = "enforce"', 'mode = "enforce"\nobserve_until = 1800000000'),
        ('resource = "keyturn://acme.example/gate/gpu1"', 'resource = "keyturn://acme.example/gate/gpu2"'),
        ('uri = "keyturn://acme.example/host/gpu1"', 'uri = "keyturn://acme.example/hosts/gpu"'),
        ('uri = "keyturn://acme.example/host/gpu1"', 'uri = "keyturn://other.example/host/gpu1"'),
        ('user = "keyturn-host"', 'user = "a b"'),
        ("accounts = [", 'accounts = ["A", '),
        ("10.1.0.5/32", "10.1.0.5/8"),
        ("acme.example/gate/front", "other.example/gate/front"),
        ("acme.example/gate/front", "acme.example/host/front"),
        ("log_age_max_s = 60", "log_age_max_s = 0"),
        ("[host]", "surprise = 1\n[host]"),
    ],
)
def test_what_a_host_config_may_not_say_is_refused(old: str, new: str) -> None:
    text = host_config.render(MOST).decode()
    assert old in text
    with pytest.raises(KeyturnError):
        host_config.parse(text.replace(old, new).encode())
