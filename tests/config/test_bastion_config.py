"""The gate.toml of a bastion: strict, and no recording that one person opens."""

from __future__ import annotations

import pytest

from keyturn.config import bastion_gate
from keyturn.config.bastion_gate import BastionGateConfig, BehindBastion, Holder
from keyturn.errors import KeyturnError
from keyturn.formats.uri import Uri

GPU1 = "keyturn://acme.example/gate/gpu1"
CONFIG = BastionGateConfig(
    name="front",
    resource=Uri("acme.example", "gate", "front"),
    service="https://keyturn.acme.example",
    pinned_root="ab" * 32,
    listen="0.0.0.0",
    port=2222,
    quorum=2,
    hosts={GPU1: BehindBastion(gate=GPU1, address="gpu1.internal", host_key="ssh-ed25519 AAAA")},
    keyholders=(Holder(name="carol", key="AAAA"), Holder(name="dan", key="BBBB")),
)


def test_a_bastions_config_reads_back_as_it_was() -> None:
    assert bastion_gate.parse(bastion_gate.render(CONFIG)) == CONFIG


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("quorum = 2", "quorum = 1", id="a recording that one opens"),
        pytest.param("quorum = 2", "quorum = 3", id="more than there are"),
        pytest.param('"dan"', '"carol"', id="one keyholder twice"),
        pytest.param('"BBBB"', '"AAAA"', id="one key twice"),
        pytest.param('kind = "bastion"', 'kind = "host"', id="another kind"),
        pytest.param("acme.example/gate/gpu1", "other.example/gate/gpu1", id="a host of another lab"),
        pytest.param("acme.example/gate/gpu1", "acme.example/host/gpu1", id="a host that is no gate"),
        pytest.param('"ssh-ed25519 AAAA"', '"*"', id="a host whose key is anybody's"),
        pytest.param("port = 2222", "port = 70000", id="no port"),
        pytest.param("[bastion]", "surprise = 1\n[bastion]", id="something unknown"),
    ],
)
def test_what_a_bastions_config_may_not_say_is_refused(old: str, new: str) -> None:
    text = bastion_gate.render(CONFIG).decode()
    assert old in text
    with pytest.raises(KeyturnError):
        bastion_gate.parse(text.replace(old, new).encode())
