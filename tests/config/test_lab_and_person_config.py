"""keyturn.toml and config.toml: round trips, and every way that a file is refused."""

from __future__ import annotations

import json

import pytest

from keyturn.config import lab, person
from keyturn.config.lab import LabConfig
from keyturn.config.person import PersonConfig
from keyturn.errors import Usage


def test_keyturn_toml_round_trips() -> None:
    for value in (
        LabConfig(lab="acme.example", service=None, witnesses={}),
        LabConfig(lab="acme.example", service="http://127.0.0.1:1", witnesses={"north": "http://127.0.0.1:2"}),
        LabConfig(lab="acme.example", service=None, witnesses={}, store="postgresql://ada@/lab?host=/run"),
        LabConfig(
            "acme.example", None, {}, processes={"builder": "https://b.example", "gate-release": "https://g.example"}
        ),
    ):
        assert lab.parse(lab.render(value)) == value


@pytest.mark.parametrize("store", ["postgresql://ada:SECRET@db/lab", "mysql://ada:SECRET@db/lab", "SECRET", 3])
def test_the_password_of_the_store_is_in_no_text_about_its_configuration(store: object) -> None:
    raw = f'version = 1\nlab = "acme.example"\nstore = {json.dumps(store)}\n'.encode()
    try:
        said = repr(lab.parse(raw))
    except Usage as err:
        said = f"{err} {err.hint} {err.detail}"
    assert "SECRET" not in said


def test_config_toml_round_trips() -> None:
    for value in (
        PersonConfig(member="ada", lab=None, pins={}),
        PersonConfig(member="ada+coder", lab="/srv/lab", pins={"acme.example": "a" * 64}),
    ):
        assert person.parse(person.render(value)) == value


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        pytest.param(b'version = 1\nlab = "a"\nquorum = 0\n', "config-invalid", id="an unknown key"),
        pytest.param(b'version = 2\nlab = "a"\n', "config-invalid", id="another version"),
        pytest.param(b'version = 1\nlab = "a"\nlab = "b"\n', "config-invalid", id="a key twice"),
        pytest.param(b"version = 1\nlab = 3\n", "config-invalid", id="a wrong type"),
        pytest.param(
            b'version = 1\nlab = "a"\nlog = "file:///etc"\n', "config-invalid", id="an address that is no http URL"
        ),
        pytest.param(b"\xff", "config-invalid", id="no UTF-8"),
        pytest.param(b"#" * 70_000, "config-too-large", id="oversize"),
        pytest.param(b"a = " + b"[" * 5000, "config-invalid", id="deep nesting"),
    ],
)
def test_a_bad_keyturn_toml_is_refused_by_name(raw: bytes, code: str) -> None:
    with pytest.raises(Usage) as caught:
        lab.parse(raw)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b'version = 1\nmember = "Ada"\n', id="an upper-case member"),
        pytest.param(b'version = 1\nmember = "ada"\n[pins]\n"acme.example" = "ABC"\n', id="a pin that is no digest"),
        pytest.param(b'version = 1\nmember = "ada"\nadmin = true\n', id="an unknown key"),
    ],
)
def test_a_bad_config_toml_is_refused(raw: bytes) -> None:
    with pytest.raises(Usage, match="config-invalid"):
        person.parse(raw)


def test_a_home_is_keyturn_home_or_lies_under_the_users_home() -> None:
    assert str(person.home_of({"KEYTURN_HOME": "/k", "HOME": "/h"}).config) == "/k/config.toml"
    assert str(person.home_of({"HOME": "/h"}).member_key) == "/h/.config/keyturn/keys/member.pem"
    assert str(person.home_of({"KEYTURN_HOME": "", "HOME": "/h"}).trust_key) == "/h/.config/keyturn/keys/trust.pem"
