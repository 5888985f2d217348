"""The gate.toml of a postgres gate: what it says, and what it may not."""

from __future__ import annotations

import pytest

from keyturn.config import postgres_gate
from keyturn.config.postgres_gate import Database, PostgresGateConfig
from keyturn.errors import Malformed, Usage
from keyturn.formats.sql_privileges import Privileges
from keyturn.formats.uri import Uri

CONFIG = PostgresGateConfig(
    name="main",
    resource=Uri("acme.example", "gate", "main"),
    service="https://keyturn.acme.example",
    pinned_root="ab" * 32,
    database=Database(
        uri="keyturn://acme.example/db/main", name="main", address="db.acme.example", definers=("a.f()",)
    ),
    actions={"db:read": Privileges(tables=("SELECT",)), "db:write": Privileges(tables=("INSERT",), functions=True)},
    log_age_max_s=60,
    witnesses_min=2,
)


def test_it_says_what_was_written() -> None:
    assert postgres_gate.parse(postgres_gate.render(CONFIG)) == CONFIG


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param('"SELECT"', '"ALL PRIVILEGES"', id="a privilege that is none"),
        pytest.param('"SELECT"', '"SELECT ON t TO x; --"', id="SQL"),
        pytest.param('"INSERT"', '"TRIGGER"', id="what would run code of theirs"),
        pytest.param('"db:read"', '"host:root"', id="an action of another type"),
        pytest.param('mode = "enforce"', 'mode = "observe"', id="letting everybody in to see"),
        pytest.param("acme.example/db/main", "other.example/db/main", id="a database of another lab"),
        pytest.param("acme.example/db/main", "acme.example/host/main", id="what is no database"),
        pytest.param("acme.example/gate/main", "acme.example/gate/other", id="another gate"),
        pytest.param('kind = "postgres"', 'kind = "release"', id="another kind"),
        pytest.param("version = 1", "version = 1\nsuperuser = true", id="a field that is none"),
    ],
)
def test_what_it_may_not_say(before: str, after: str) -> None:
    text = postgres_gate.render(CONFIG).decode()
    assert before in text
    with pytest.raises((Usage, Malformed)):
        postgres_gate.parse(text.replace(before, after).encode())
