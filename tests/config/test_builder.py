"""builder.toml: strict, and what is rendered is read back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from keyturn.config.builder import BuilderConfig, OciConfig, S3Config, parse, render
from keyturn.errors import Usage

CONFIG = BuilderConfig(
    name="builder",
    lab="acme.example",
    root_sha256="a" * 64,
    work=("/srv/work",),
    runtime=("/usr",),
    private=("/home/ada",),
    sources=("git+https://git.example/models/", "oci://registry.example:5000/acme/", "s3://data/v1/"),
    queue_max=16,
    level=1,
    s3=S3Config(endpoint="https://s3.example:9000", region="eu-west-1", credentials="/etc/keyturn/s3"),
    oci=OciConfig(credentials="/etc/keyturn/oci.json", follow=("https://storage.example", "http://[::1]:9000")),
)


def test_what_is_rendered_is_read_back() -> None:
    assert parse(render(CONFIG)) == CONFIG
    for s3 in (None, S3Config(endpoint="http://127.0.0.1:9000", region="us-east-1", credentials=None)):
        assert parse(render(replace(CONFIG, s3=s3))) == replace(CONFIG, s3=s3)
    for oci in (None, OciConfig(credentials=None, follow=())):
        assert parse(render(replace(CONFIG, oci=oci))) == replace(CONFIG, oci=oci)
    text = b'endpoint = "https://[::1]:9000/"\n'
    assert parse(render(replace(CONFIG, s3=None, oci=None)) + b"[s3]\n" + text).s3 == S3Config(
        endpoint="https://[::1]:9000/", region="us-east-1", credentials=None
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("version = 1", "version = 2", id="another version"),
        pytest.param("version = 1", "version = 1\nkey = 'x'", id="an unknown key"),
        pytest.param('"/srv/work"', '"work"', id="a relative directory"),
        pytest.param('"/usr"', "", id="no runtime"),
        pytest.param("a" * 64, "a" * 63, id="a short pin"),
        pytest.param("queue_max = 16", "queue_max = 0", id="no queue"),
        pytest.param("git+https://git.example", "git+http://git.example", id="an address without TLS"),
        pytest.param("s3://data/v1/", "s3://data", id="a bucket without a slash"),
        pytest.param("s3://data/v1/", "s3://127.0.0.1:1/v1/", id="an endpoint as a source"),
        pytest.param("https://s3.example:9000", "http://s3.example:9000", id="an S3 without TLS elsewhere"),
        pytest.param("https://s3.example:9000", "http://127.0.0.1.example:9000", id="a name like this machine's"),
        pytest.param("https://s3.example:9000", "https://ada:pw@s3.example", id="a password in an endpoint"),
        pytest.param("https://s3.example:9000", "https://s3.example/path", id="an endpoint with a path"),
        pytest.param("oci://registry", "oci://ada@registry", id="a name in a registry's address"),
        pytest.param("https://storage.example", "http://storage.example", id="sent on without TLS"),
        pytest.param("https://storage.example", "https://storage.example/path", id="a path to be sent on to"),
        pytest.param("https://storage.example", "https://", id="sent on to anywhere"),
        pytest.param("[oci]", '[oci]\npassword = "x"', id="a password in the file itself"),
        pytest.param('credentials = "/etc/keyturn/s3', 'credentials = "etc', id="relative keys"),
        pytest.param("eu-west-1", "eu west", id="no region"),
        pytest.param("[s3]", '[s3]\nkey = "x"', id="keys in the file itself"),
        pytest.param("level = 1", "level = 3", id="a level that one machine cannot have"),
    ],
)
def test_anything_else_is_a_usage_error(old: str, new: str) -> None:
    text = render(CONFIG).decode()
    assert old in text
    with pytest.raises(Usage):
        parse(text.replace(old, new).encode())
