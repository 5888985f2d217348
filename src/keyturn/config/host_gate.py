"""Read and write the `gate.toml` of a host gate: as `config.gate_head` has it, and what it opens at the most:

[host]
uri = "keyturn://acme.example/host/gpu1"
accounts = ["ada", "root"]                  # absent: whatever the grant names
user = "keyturn-host"                       # who runs the helper that sshd starts

Without `service` the log is carried to it in files (`app.gates.follow_carried`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
import tomli_w
from msgspec import Meta

from keyturn.config import toml
from keyturn.config.gate_head import GateFile, GateHead, head_of, head_table
from keyturn.errors import Usage
from keyturn.formats.session_terms import Account
from keyturn.formats.uri import Uri

__all__ = ["HostGateConfig", "parse", "render"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostGateConfig(GateHead):
    """A host gate as its operator configured it. Of `accounts`, none means any that a grant names."""

    host: Uri
    user: str
    accounts: tuple[str, ...] = ()


class _Host(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    uri: Annotated[str, Meta(max_length=1024)]
    user: Account
    accounts: Annotated[tuple[Account, ...], Meta(min_length=1, max_length=256)] | None = None


class _File(GateFile, frozen=True, kw_only=True, forbid_unknown_fields=True):
    kind: Literal["host"]
    host: _Host


def parse(raw: bytes, *, where: str = "gate.toml") -> HostGateConfig:
    """Parse `raw`, or raise `Usage` naming `where`."""
    file = toml.parse(raw, _File, where=where)
    head, host = head_of(file, where=where, may_observe=True), Uri.parse(file.host.uri)
    if (host.type, host.lab) != ("host", head["resource"].lab):
        raise Usage(
            "config-invalid", f"`{where}`: expected `uri` to be a host of `{head['resource'].lab}`, got `{host}`"
        )
    return HostGateConfig(**head, host=host, user=file.host.user, accounts=file.host.accounts or ())


def render(value: HostGateConfig) -> bytes:
    """Render `value`; `parse(render(x)) == x`."""
    host: dict[str, Any] = {"uri": str(value.host), "user": value.user}
    if value.accounts:
        host["accounts"] = list(value.accounts)
    return tomli_w.dumps(head_table(value, kind="host") | {"host": host}).encode("utf-8")
