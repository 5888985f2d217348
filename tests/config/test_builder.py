"""builder.toml: strict, and what is rendered is read back."""

from __future__ import annotations

import pytest

from keyturn.config.builder import BuilderConfig, parse, render
from keyturn.errors import Usage

CONFIG = BuilderConfig(
    name="builder",
    lab="acme.example",
    root_sha256="a" * 64,
    work=("/srv/work",),
    runtime=("/usr",),
    private=("/home/ada",),
    sources=("git+https://git.example/models/",),
    queue_max=16,
    level=1,
)


def test_what_is_rendered_is_read_back() -> None:
    assert parse(render(CONFIG)) == CONFIG


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
        pytest.param("level = 1", "level = 3", id="a level that one machine cannot have"),
    ],
)
def test_anything_else_is_a_usage_error(old: str, new: str) -> None:
    text = render(CONFIG).decode()
    assert old in text
    with pytest.raises(Usage):
        parse(text.replace(old, new).encode())
