"""The gate.toml of a gate of one's own: read back as written, and everything that it may not say."""

from __future__ import annotations

import pytest

from keyturn.config import own_gate
from keyturn.config.gate_head import kind_of
from keyturn.config.own_gate import Door, OwnGateConfig, Socket
from keyturn.errors import KeyturnError
from keyturn.formats.uri import Uri

DOOR = Door(action="procedure:run", resource="keyturn://acme.example/procedure/rotate", users=("backup", "1004"))
SCRIPT = OwnGateConfig(
    name="vault", resource=Uri("acme.example", "gate", "vault"), service="https://k", pinned_root="a" * 64
)
LOCAL = OwnGateConfig(
    name="vault",
    resource=Uri("acme.example", "gate", "vault"),
    service=None,
    pinned_root="a" * 64,
    witnesses_min=2,
    socket=Socket(path="/run/ask/vault.sock", group="ask"),
    doors={"rotate": DOOR},
)


@pytest.mark.parametrize("config", [SCRIPT, LOCAL], ids=["script", "local"])
def test_it_is_read_back_as_it_was_written(config: OwnGateConfig) -> None:
    raw = own_gate.render(config)
    assert own_gate.parse(raw) == config
    assert kind_of(raw, where="gate.toml") == config.kind


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param('kind = "local"', 'kind = "release"', id="another kind"),
        pytest.param('kind = "local"', 'kind = "script"', id="a script with a socket"),
        pytest.param('path = "/run/ask/vault.sock"', 'path = "vault.sock"', id="a path that depends on who starts it"),
        pytest.param('path = "/run/ask/vault.sock"', f'path = "/{"a" * 107}"', id="a path too long for a socket"),
        pytest.param('mode = "enforce"', 'mode = "observe"', id="no enforcement"),
        pytest.param('action = "procedure:run"', "", id="a door for nothing"),
        pytest.param('"backup",', '"back up",', id="no user's name"),
        pytest.param("acme.example/procedure", "other.example/procedure", id="a resource of another lab"),
        pytest.param("[doors.rotate]", "[doors.ROTATE]", id="a door that no path names"),
        pytest.param("[doors.rotate]", "[door.rotate]", id="an unknown key"),
    ],
)
def test_what_it_may_not_say_is_refused(before: str, after: str) -> None:
    text = own_gate.render(LOCAL).decode()
    assert before in text
    with pytest.raises(KeyturnError):
        own_gate.parse(text.replace(before, after).encode())


def test_a_door_for_nobody_is_refused() -> None:
    text = own_gate.render(LOCAL).decode()
    nobody = text[: text.index("users")] + "users = []\n"
    with pytest.raises(KeyturnError):
        own_gate.parse(nobody.encode())
