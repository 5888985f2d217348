"""Read and write the `gate.toml` of a bastion: as `config.gate_head` has it, `service` always, and what lies behind it:

[bastion]
listen = "0.0.0.0"                          # the address at which people come in
port = 2222
watcher_absent_s = 60                       # how long a session that needs a watcher stands still without one, and then ends
[[bastion.hosts]]
gate = "keyturn://acme.example/gate/gpu1"   # the host's own gate, as grants name it
address = "gpu1.internal"
port = 22
host_key = "ssh-ed25519 AAAA..."            # its sshd's: nobody else is spoken to

To whom recordings are sealed stands in the lab's targets, and nowhere else: whoever may write this file chooses no keyholders.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
import tomli_w
from msgspec import Meta

from keyturn.config import toml
from keyturn.config.gate_head import GateFile, GateHead, head_of, head_table
from keyturn.errors import Usage
from keyturn.formats.text import HttpUrl
from keyturn.formats.uri import Uri

__all__ = ["BastionGateConfig", "BehindBastion", "parse", "render"]

WATCHER_ABSENT_S = 60

_Port = Annotated[int, Meta(ge=1, le=65535)]
HOST_KEY = r"\A(?:ssh-ed25519|ecdsa-sha2-nistp256|rsa-sha2-512|ssh-rsa) [A-Za-z0-9+/]{1,2000}={0,2}\Z"


class BehindBastion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A host behind the bastion."""

    gate: Annotated[str, Meta(max_length=1024)]
    address: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9.:-]{1,253}\Z")]
    port: _Port = 22
    host_key: Annotated[str, Meta(pattern=HOST_KEY)]


class _Bastion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    listen: Annotated[str, Meta(pattern=r"\A[0-9a-fA-F.:]{2,45}\Z")]
    port: Annotated[int, Meta(ge=0, le=65535)]
    watcher_absent_s: Annotated[int, Meta(ge=1, le=3600)] = WATCHER_ABSENT_S
    hosts: Annotated[tuple[BehindBastion, ...], Meta(max_length=1024)] = ()
    quorum: Any = None
    keyholders: Any = None

    def __post_init__(self) -> None:
        if len({one.gate for one in self.hosts}) != len(self.hosts):
            raise ValueError("expected each host's gate once")


@dataclass(frozen=True, slots=True, kw_only=True)
class BastionGateConfig(GateHead):
    """A bastion as its operator configured it; `hosts` by the URI of their gates."""

    service: str
    listen: str
    port: int
    hosts: Mapping[str, BehindBastion]
    watcher_absent_s: int = WATCHER_ABSENT_S


class _File(GateFile, frozen=True, kw_only=True, forbid_unknown_fields=True):
    kind: Literal["bastion"]
    service: HttpUrl
    bastion: _Bastion


def parse(raw: bytes, *, where: str = "gate.toml") -> BastionGateConfig:
    """Parse `raw`, or raise `Usage` naming `where`."""
    file = toml.parse(raw, _File, where=where)
    head, said = head_of(file, where=where), file.bastion
    if said.quorum is not None or said.keyholders is not None:
        raise Usage(
            "bastion-keyholders",
            f"`{where}` names keyholders of recordings or their quorum, which the lab's targets do, signed by its people",
            hint="take `quorum` and `[[bastion.keyholders]]` out; who opens recordings: `[recordings]` in the draft's gates.toml",
        )
    for host in said.hosts:
        uri = Uri.parse(host.gate)
        if (uri.type, uri.lab) != ("gate", head["resource"].lab):
            raise Usage(
                "config-invalid", f"`{where}`: expected hosts by their gates of `{head['resource'].lab}`, got `{uri}`"
            )
    return BastionGateConfig(
        **head,
        listen=said.listen,
        port=said.port,
        hosts={host.gate: host for host in said.hosts},
        watcher_absent_s=said.watcher_absent_s,
    )


def render(value: BastionGateConfig) -> bytes:
    """Render `value`; `parse(render(x)) == x`."""
    own = {
        "listen": value.listen,
        "port": value.port,
        "watcher_absent_s": value.watcher_absent_s,
        "hosts": [msgspec.to_builtins(host) for host in value.hosts.values()],
    }
    return tomli_w.dumps(head_table(value, kind="bastion") | {"bastion": own}).encode("utf-8")
