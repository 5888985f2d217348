"""gate.toml: strict, and never looser than targets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from keyturn.config import release_gate as gate
from keyturn.config.release_gate import ReleaseGateConfig
from keyturn.errors import KeyturnError
from keyturn.formats.uri import Uri

CONFIG = ReleaseGateConfig(
    name="release",
    resource=Uri("acme.example", "gate", "release"),
    service="https://log.acme.example",
    pinned_root="1" * 64,
    log_age_max_s=600,
    witnesses_min=2,
    models=("/srv/models",),
)


@pytest.mark.parametrize(
    "value", [CONFIG, replace(CONFIG, service=None, log_age_max_s=None, witnesses_min=None, models=())]
)
def test_a_gate_config_reads_back_as_it_was(value: ReleaseGateConfig) -> None:
    assert gate.parse(gate.render(value)) == value


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param('mode = "enforce"', 'mode = "observe"', id="a release gate that only observes"),
        pytest.param("version = 1", "version = 2", id="another version"),
        pytest.param('kind = "release"', 'kind = "host"', id="another kind"),
        pytest.param("/gate/release", "/gate/other", id="another gate's resource"),
        pytest.param("/gate/release", "/host/release", id="no gate"),
        pytest.param("witnesses_min = 2", "witnesses_min = 0", id="no witnesses"),
        pytest.param("log_age_max_s = 600", "log_age_max_s = 0", id="no age"),
        pytest.param('"/srv/models"', '"models"', id="a relative directory"),
        pytest.param("version = 1", "version = 1\nextra = 1", id="an unknown key"),
        pytest.param('pinned_root = "1', 'pinned_root = "x', id="a pin that is no digest"),
    ],
)
def test_another_file_is_refused(old: str, new: str) -> None:
    text = gate.render(CONFIG).decode()
    assert old in text
    with pytest.raises(KeyturnError):
        gate.parse(text.replace(old, new, 1).encode())
