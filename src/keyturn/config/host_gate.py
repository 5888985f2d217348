"""Read and write the `gate.toml` of a host gate: as `config.gate_head` has it, and what it opens at the most:

[host]
uri = "keyturn://acme.example/host/gpu1"
accounts = ["ada", "root"]                  # absent: whatever the grant names
user = "keyturn-host"                       # who runs the helper that sshd starts
[[host.bastions]]                           # absent: no grant that asks for recording opens this host
gate = "keyturn://acme.example/gate/front"
networks = ["10.1.0.5/32"]                  # which it comes from

Without `service` the log is carried to it in files (`app.gates.follow_carried`).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
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
    """A host gate as its operator configured it. Of `accounts`, none means any that a grant names; `bastions` are the networks of
    each that may record what comes in, by the URI of its gate."""

    host: Uri
    user: str
    accounts: tuple[str, ...] = ()
    bastions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class _Bastion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    gate: Annotated[str, Meta(max_length=1024)]
    networks: Annotated[tuple[Annotated[str, Meta(max_length=64)], ...], Meta(min_length=1, max_length=16)]

    def __post_init__(self) -> None:
        for network in self.networks:
            if str(ipaddress.ip_network(network)) != network:
                raise ValueError(f"expected a network as `{ipaddress.ip_network(network)}`, got `{network}`")


class _Host(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    uri: Annotated[str, Meta(max_length=1024)]
    user: Account
    accounts: Annotated[tuple[Account, ...], Meta(min_length=1, max_length=256)] | None = None
    bastions: Annotated[tuple[_Bastion, ...], Meta(max_length=16)] = ()


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
    bastions = {one.gate: one.networks for one in file.host.bastions}
    if len(bastions) != len(file.host.bastions) or any(
        (uri.type, uri.lab) != ("gate", host.lab) for uri in map(Uri.parse, bastions)
    ):
        raise Usage("config-invalid", f"`{where}`: expected `bastions` to be gates of `{host.lab}`, each once")
    return HostGateConfig(**head, host=host, user=file.host.user, accounts=file.host.accounts or (), bastions=bastions)


def render(value: HostGateConfig) -> bytes:
    """Render `value`; `parse(render(x)) == x`."""
    host: dict[str, Any] = {"uri": str(value.host), "user": value.user}
    if value.accounts:
        host["accounts"] = list(value.accounts)
    if value.bastions:
        host["bastions"] = [{"gate": gate, "networks": list(found)} for gate, found in value.bastions.items()]
    return tomli_w.dumps(head_table(value, kind="host") | {"host": host}).encode("utf-8")
