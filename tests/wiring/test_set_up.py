"""A gate or a builder is set up from the root that somebody compared: whole, once, and again after half of it failed."""

from __future__ import annotations

from pathlib import Path

import pytest

from keyturn.adapters.files.key_files import read_key
from keyturn.adapters.files.trust_on_disk import TrustOnDisk
from keyturn.adapters.inputs.oci_place import OciPlace
from keyturn.adapters.inputs.s3_place import S3Place
from keyturn.config.lab import LabConfig
from keyturn.errors import Refused, Usage
from keyturn.wiring.custody.builder import builder_parts, make_builder
from keyturn.wiring.gates.release import init_gate, read_config
from keyturn.wiring.lab.places import LabPlace
from support.labs import Lab, make_lab


@pytest.fixture
def lab() -> Lab:
    return make_lab()


@pytest.fixture
def place(tmp_path: Path, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> LabPlace:
    monkeypatch.setenv("KEYTURN_HOME", str(tmp_path / "nobody"))
    TrustOnDisk(tmp_path / "trust").write_file("root.json", lab.root_json)
    return LabPlace(path=tmp_path, url=None, config=LabConfig(lab=lab.name, service=None, witnesses={}))


def test_a_gate_pins_the_root_that_was_named(place: LabPlace, lab: Lab) -> None:
    config, key = init_gate(place, name="release", pin=lab.root_sha256)
    assert (config.pinned_root, read_config(place, "release")) == (lab.root_sha256, config)
    assert read_key(place.directory / "gates" / "release" / "key", passphrase=None).public == key


def test_what_failed_half_way_is_finished_by_the_same_command(place: LabPlace, lab: Lab) -> None:
    _, key = init_gate(place, name="release", pin=lab.root_sha256)
    directory = place.directory / "gates" / "release"
    (directory / "gate.toml").unlink()
    (directory / "root.json").write_bytes(b"half a ro")
    assert init_gate(place, name="release", pin=lab.root_sha256)[1] == key
    assert (directory / "root.json").read_bytes() == lab.root_json


def test_what_is_set_up_is_left_as_it_is(place: LabPlace, lab: Lab) -> None:
    init_gate(place, name="release", pin=lab.root_sha256)
    (place.directory / "gates" / "release" / "root.json").write_bytes(b"the operator's")
    with pytest.raises(Usage, match="file-exists"):
        init_gate(place, name="release", pin=lab.root_sha256)
    assert (place.directory / "gates" / "release" / "root.json").read_bytes() == b"the operator's"


@pytest.mark.parametrize(
    ("pin", "code"),
    [
        pytest.param(None, "trust-root-unpinned", id="nobody compared anything"),
        pytest.param("0" * 64, "trust-root-not-pinned", id="another root was compared"),
    ],
)
def test_no_root_is_pinned_that_nobody_compared(place: LabPlace, pin: str | None, code: str) -> None:
    for make in (lambda: init_gate(place, name="release", pin=pin), lambda: _builder(place, pin)):
        with pytest.raises((Usage, Refused), match=code):
            make()
    assert not (place.directory / "gates").exists()
    assert not (place.directory / "builder").exists()


def test_a_founding_lab_has_no_root_to_pin(place: LabPlace, lab: Lab) -> None:
    (place.directory / "trust" / "root.json").unlink()
    with pytest.raises(Refused, match="trust-founding"):
        _builder(place, lab.root_sha256)


def test_the_keys_of_a_builders_s3_go_into_no_step_wherever_they_lie(place: LabPlace, lab: Lab) -> None:
    _builder(place, lab.root_sha256)
    assert builder_parts(place).s3 is None
    with (place.directory / "builder" / "builder.toml").open("a") as file:
        file.write('[s3]\nendpoint = "https://s3.example"\nregion = "eu-west-1"\ncredentials = "/data/keys"\n')
        file.write('[oci]\ncredentials = "/data/names"\nfollow = ["https://store.example/"]\n')
    parts = builder_parts(place)
    assert parts.s3 == S3Place("https://s3.example", "eu-west-1", Path("/data/keys"))
    assert parts.oci == OciPlace(Path("/data/names"), ("https://store.example",))
    for path in (Path("/data/keys"), Path("/data/names"), Path("/data")):  # and nothing that holds them
        with pytest.raises(Refused, match="path-private"):
            parts.allowed.check(path, what="input", roots=parts.allowed.work)


def _builder(place: LabPlace, pin: str | None) -> object:
    return make_builder(place, name="builder", work=["/data"], runtime=["/usr"], private=[], pin=pin)
