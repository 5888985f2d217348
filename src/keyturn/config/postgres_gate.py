"""Read and write the `gate.toml` of a postgres gate: which database it is, what its actions mean there, and where the log is.

    version = 1
    name = "main"
    kind = "postgres"
    resource = "keyturn://acme.example/gate/main"
    service = "https://keyturn.acme.example"
    pinned_root = "<sha256 of the lab's first root>"
    log_age_max_s = 600                         # absent: what targets say
    witnesses_min = 2                           # absent: what targets say
    mode = "enforce"
    [database]
    uri = "keyturn://acme.example/db/main"      # a grant names a schema of it: keyturn://acme.example/db/main/public
    name = "main"                               # as PostgreSQL knows it
    socket = "/var/run/postgresql"              # the directory of the server's Unix socket
    port = 5432
    address = "db.acme.example"                 # where people reach the server, by TLS
    user = "keyturn-gate"                       # of the operating system, who runs the gate
    connections = 3                             # that one grant has at the same time, at the most
    definers = ["public.total(integer)"]        # SECURITY DEFINER functions that a grant may call
    [actions."db:read"]
    tables = ["SELECT"]

As `config.gate` has it for a release gate: the file belongs to the gate's operator, and may only tighten what targets say. There
is no `observe` mode: a role that nobody granted is what the gate is there against.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import msgspec
import tomli_w
from msgspec import Meta

from keyturn.config import toml
from keyturn.errors import Usage
from keyturn.formats.sql_privileges import Privileges
from keyturn.formats.text import HexDigest, Name
from keyturn.formats.uri import Uri

__all__ = ["Database", "PostgresGateConfig", "parse", "render"]


class Database(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The database of one gate."""

    uri: Annotated[str, Meta(max_length=1024)]
    name: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}\Z")]
    socket: Annotated[str, Meta(pattern=r"\A/[!-~]{0,100}\Z")] = "/var/run/postgresql"
    port: Annotated[int, Meta(ge=1, le=65535)] = 5432
    address: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9.:-]{1,253}\Z")]
    user: Annotated[str, Meta(pattern=r"\A[a-z_][a-z0-9_-]{0,31}\Z")] = "keyturn-gate"
    connections: Annotated[int, Meta(ge=1, le=100)] = 3
    definers: Annotated[tuple[Annotated[str, Meta(max_length=1024)], ...], Meta(max_length=256)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresGateConfig:
    """A postgres gate as its operator configured it; `None` where targets are strict enough."""

    name: str
    resource: Uri
    service: str
    pinned_root: str
    database: Database
    actions: Mapping[str, Privileges] = field(default_factory=dict)
    log_age_max_s: int | None = None
    witnesses_min: int | None = None


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: Literal[1]
    name: Name
    kind: Literal["postgres"]
    resource: Annotated[str, Meta(max_length=1024)]
    service: Annotated[str, Meta(pattern=r"\Ahttps?://[!-~]{1,500}\Z")]
    pinned_root: HexDigest
    log_age_max_s: Annotated[int, Meta(ge=1, le=86400)] | None = None
    witnesses_min: Annotated[int, Meta(ge=1, le=64)] | None = None
    mode: Literal["enforce"]
    database: Database
    actions: Annotated[
        dict[Annotated[str, Meta(pattern=r"\Adb:[a-z][a-z0-9-]{0,30}\Z")], Privileges],
        Meta(min_length=1, max_length=16),
    ]


def parse(raw: bytes, *, where: str = "gate.toml") -> PostgresGateConfig:
    """Parse `raw`, or raise `Usage` naming `where`."""
    file = toml.parse(raw, _File, where=where)
    resource, database = Uri.parse(file.resource), Uri.parse(file.database.uri)
    if (resource.type, resource.name) != ("gate", file.name):
        raise Usage("config-invalid", f"`{where}`: expected `resource` to be the gate `{file.name}`, got `{resource}`")
    if (database.type, database.lab) != ("db", resource.lab):
        raise Usage("config-invalid", f"`{where}`: expected `uri` to be a db of `{resource.lab}`, got `{database}`")
    return PostgresGateConfig(
        name=file.name,
        resource=resource,
        service=file.service,
        pinned_root=file.pinned_root,
        database=file.database,
        actions=file.actions,
        log_age_max_s=file.log_age_max_s,
        witnesses_min=file.witnesses_min,
    )


def render(value: PostgresGateConfig) -> bytes:
    """Render `value`; `parse(render(x)) == x`."""
    table: dict[str, Any] = {
        "version": 1,
        "name": value.name,
        "kind": "postgres",
        "resource": str(value.resource),
        "service": value.service,
        "pinned_root": value.pinned_root,
        "mode": "enforce",
    }
    for key, given in (("log_age_max_s", value.log_age_max_s), ("witnesses_min", value.witnesses_min)):
        if given is not None:
            table[key] = given
    table["database"] = msgspec.to_builtins(value.database)
    table["actions"] = {action: msgspec.to_builtins(given) for action, given in value.actions.items()}
    return tomli_w.dumps(table).encode("utf-8")
