"""Read and write the `gate.toml` of a host gate: which host it is, where it finds the log, and what it opens at the most.

    version = 1
    name = "gpu1"
    kind = "host"
    resource = "keyturn://acme.example/gate/gpu1"
    service = "https://keyturn.acme.example"
    pinned_root = "<sha256 of the lab's first root>"
    log_age_max_s = 600                         # absent: what targets say
    witnesses_min = 2                           # absent: what targets say
    mode = "enforce"
    [host]
    uri = "keyturn://acme.example/host/gpu1"
    accounts = ["ada", "root"]                  # absent: whatever the grant names
    user = "keyturn-host"                       # who runs the helper that sshd starts

As `config.gate` has it for a release gate: the file belongs to the host's operator, and may only tighten what targets say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
import tomli_w
from msgspec import Meta

from keyturn.config import toml
from keyturn.errors import Usage
from keyturn.formats.session_terms import Account
from keyturn.formats.text import HexDigest, Name
from keyturn.formats.uri import Uri

__all__ = ["HostGateConfig", "parse", "render"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostGateConfig:
    """A host gate as its operator configured it; `None` where targets are strict enough."""

    name: str
    resource: Uri
    host: Uri
    service: str
    pinned_root: str
    user: str
    log_age_max_s: int | None = None
    witnesses_min: int | None = None
    accounts: tuple[str, ...] = ()


class _Host(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    uri: Annotated[str, Meta(max_length=1024)]
    user: Account
    accounts: Annotated[tuple[Account, ...], Meta(min_length=1, max_length=256)] | None = None


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: Literal[1]
    name: Name
    kind: Literal["host"]
    resource: Annotated[str, Meta(max_length=1024)]
    service: Annotated[str, Meta(pattern=r"\Ahttps?://[!-~]{1,500}\Z")]
    pinned_root: HexDigest
    log_age_max_s: Annotated[int, Meta(ge=1, le=86400)] | None = None
    witnesses_min: Annotated[int, Meta(ge=1, le=64)] | None = None
    mode: Literal["enforce"]
    host: _Host


def parse(raw: bytes, *, where: str = "gate.toml") -> HostGateConfig:
    """Parse `raw`, or raise `Usage` naming `where`."""
    file = toml.parse(raw, _File, where=where)
    resource, host = Uri.parse(file.resource), Uri.parse(file.host.uri)
    if (resource.type, resource.name) != ("gate", file.name):
        raise Usage("config-invalid", f"`{where}`: expected `resource` to be the gate `{file.name}`, got `{resource}`")
    if (host.type, host.lab) != ("host", resource.lab):
        raise Usage("config-invalid", f"`{where}`: expected `uri` to be a host of `{resource.lab}`, got `{host}`")
    return HostGateConfig(
        name=file.name,
        resource=resource,
        host=host,
        service=file.service,
        pinned_root=file.pinned_root,
        user=file.host.user,
        log_age_max_s=file.log_age_max_s,
        witnesses_min=file.witnesses_min,
        accounts=file.host.accounts or (),
    )


def render(value: HostGateConfig) -> bytes:
    """Render `value`; `parse(render(x)) == x`."""
    table: dict[str, object] = {
        "version": 1,
        "name": value.name,
        "kind": "host",
        "resource": str(value.resource),
        "service": value.service,
        "pinned_root": value.pinned_root,
        "mode": "enforce",
    }
    for key, given in (("log_age_max_s", value.log_age_max_s), ("witnesses_min", value.witnesses_min)):
        if given is not None:
            table[key] = given
    host: dict[str, object] = {"uri": str(value.host), "user": value.user}
    table["host"] = host | ({"accounts": list(value.accounts)} if value.accounts else {})
    return tomli_w.dumps(table).encode("utf-8")
