"""Read and write the `gate.toml` of a postgres gate: as `config.gate_head` has it, `service` always, with the database and what
its actions mean there:

    [database]
    uri = "keyturn://acme.example/db/main"      # a grant names a schema of it: keyturn://acme.example/db/main/public
    name = "main"                               # as PostgreSQL knows it
    socket = "/var/run/postgresql"              # the directory of the server's Unix socket
    port = 5432
    address = "db.acme.example"                 # where people reach the server, by TLS
    user = "keyturn-gate-postgres"              # of the operating system, who runs the gate
    connections = 3                             # that one grant has at the same time, at the most
    definers = ["public.total(integer)"]        # SECURITY DEFINER functions that a grant may call
    [actions."db:read"]
    tables = ["SELECT"]

There is no `observe` mode: a role that nobody granted is what the gate is there against.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

import msgspec
import tomli_w
from msgspec import Meta

from keyturn.config import toml
from keyturn.config.gate_head import GateFile, GateHead, head_of, head_table
from keyturn.errors import Usage
from keyturn.formats.sql_privileges import Privileges
from keyturn.formats.text import HttpUrl
from keyturn.formats.uri import Uri

__all__ = ["Database", "PostgresGateConfig", "parse", "render"]


class Database(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The database of one gate."""

    uri: Annotated[str, Meta(max_length=1024)]
    name: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}\Z")]
    socket: Annotated[str, Meta(pattern=r"\A/[!-~]{0,100}\Z")] = "/var/run/postgresql"
    port: Annotated[int, Meta(ge=1, le=65535)] = 5432
    address: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9.:-]{1,253}\Z")]
    user: Annotated[str, Meta(pattern=r"\A[a-z_][a-z0-9_-]{0,31}\Z")] = "keyturn-gate-postgres"
    connections: Annotated[int, Meta(ge=1, le=100)] = 3
    definers: Annotated[tuple[Annotated[str, Meta(max_length=1024)], ...], Meta(max_length=256)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresGateConfig(GateHead):
    """A postgres gate as its operator configured it; `actions` say what each means here."""

    service: str
    database: Database
    actions: Mapping[str, Privileges] = field(default_factory=dict)


class _File(GateFile, frozen=True, kw_only=True, forbid_unknown_fields=True):
    kind: Literal["postgres"]
    service: HttpUrl
    database: Database
    actions: Annotated[
        dict[Annotated[str, Meta(pattern=r"\Adb:[a-z][a-z0-9-]{0,30}\Z")], Privileges],
        Meta(min_length=1, max_length=16),
    ]


def parse(raw: bytes, *, where: str = "gate.toml") -> PostgresGateConfig:
    """Parse `raw`, or raise `Usage` naming `where`."""
    file = toml.parse(raw, _File, where=where)
    head, database = head_of(file, where=where), Uri.parse(file.database.uri)
    if (database.type, database.lab) != ("db", head["resource"].lab):
        raise Usage(
            "config-invalid", f"`{where}`: expected `uri` to be a db of `{head['resource'].lab}`, got `{database}`"
        )
    return PostgresGateConfig(**head, database=file.database, actions=file.actions)


def render(value: PostgresGateConfig) -> bytes:
    """Render `value`; `parse(render(x)) == x`."""
    own = {
        "database": msgspec.to_builtins(value.database),
        "actions": {action: msgspec.to_builtins(given) for action, given in value.actions.items()},
    }
    return tomli_w.dumps(head_table(value, kind="postgres") | own).encode("utf-8")
