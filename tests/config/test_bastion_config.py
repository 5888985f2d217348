"""The gate.toml of a bastion: strict, and it chooses no keyholders."""

from __future__ import annotations

import pytest

from keyturn.config import bastion_gate
from keyturn.config.bastion_gate import BastionGateConfig, BehindBastion
from keyturn.errors import KeyturnError, Usage
from keyturn.formats.uri import Uri

GPU1 = "keyturn://acme.example/gate/gpu1"
CONFIG = BastionGateConfig(
    name="front",
    resource=Uri("acme.example", "gate", "front"),
    service="https://keyturn.acme.example",
    pinned_root="ab" * 32,
    listen="0.0.0.0",
    port=2222,
    hosts={GPU1: BehindBastion(gate=GPU1, address="gpu1.internal", host_key="ssh-ed25519 AAAA")},
)


def test_a_bastions_config_reads_back_as_it_was() -> None:
    assert bastion_gate.parse(bastion_gate.render(CONFIG)) == CONFIG


@pytest.mark.parametrize(
    ("old", "new"),
    [
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


@pytest.mark.parametrize("said", ["quorum = 3", 'keyholders = [{ name = "mallory", key = "AAAA" }]', "keyholders = []"])
def test_whoever_writes_the_file_chooses_no_keyholders(said: str) -> None:
    text = bastion_gate.render(CONFIG).decode().replace("port = 2222", f"port = 2222\n{said}")
    with pytest.raises(Usage) as refused:
        bastion_gate.parse(text.encode())
    assert refused.value.code == "bastion-keyholders"
