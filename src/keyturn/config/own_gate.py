"""Read and write the `gate.toml` of a gate of one's own, as `config.gate_head` has it: of kind `script`, a program on the SDK
that is the gate itself; or `local`, a process that programs in any language ask at a Unix socket, with

    [socket]
    path = "/run/keyturn-gate-local/vault.sock"
    group = "keyturn-ask"                        # may connect; absent: the gate's own user alone, and root
    [doors.rotate]
    action = "procedure:run"
    resource = "keyturn://acme.example/procedure/rotate"
    users = ["backup", "1004"]                   # of the operating system, who may ask: names, or numbers

Without `service`, the log is the one beside it, in the same lab directory. There is no `observe` mode.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import msgspec
import tomli_w
from msgspec import Meta

from keyturn.config import toml
from keyturn.config.gate_head import GateFile, GateHead, head_of, head_table
from keyturn.errors import Usage
from keyturn.formats.text import Name
from keyturn.formats.uri import Uri

__all__ = ["Door", "OwnGateConfig", "Socket", "parse", "render"]

User = Annotated[str, Meta(pattern=r"\A(?:[a-z_][a-z0-9_-]{0,31}|[0-9]{1,10})\Z")]


class Socket(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where programs ask. A Unix socket's path has 107 bytes at the most."""

    path: Annotated[str, Meta(pattern=r"\A/[!-~]{1,105}\Z")]
    group: User | None = None


class Door(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one program does, and which users of the operating system may ask for it. Nobody else may, not even root."""

    action: Annotated[str, Meta(max_length=64)]
    resource: Annotated[str, Meta(max_length=1024)]
    users: Annotated[tuple[User, ...], Meta(min_length=1, max_length=64)]


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnGateConfig(GateHead):
    """A gate of one's own as its operator configured it. `socket` is None for kind `script`, which has no `doors` either."""

    socket: Socket | None = None
    doors: Mapping[str, Door] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return "script" if self.socket is None else "local"


class _File(GateFile, frozen=True, kw_only=True, forbid_unknown_fields=True):
    kind: Literal["script", "local"]
    socket: Socket | None = None
    doors: Annotated[dict[Name, Door], Meta(max_length=64)] = msgspec.field(default_factory=dict)


def parse(raw: bytes, *, where: str = "gate.toml") -> OwnGateConfig:
    """Parse `raw`, or raise `Usage` naming `where`."""
    file = toml.parse(raw, _File, where=where)
    head = head_of(file, where=where)
    if (file.kind == "local") != (file.socket is not None and bool(file.doors)) or (
        file.kind == "script" and file.doors
    ):
        raise Usage(
            "config-invalid",
            f"`{where}`: expected `[socket]` and `[doors.NAME]` with kind `local`, and neither with kind `script`",
        )
    for name, door in file.doors.items():
        resource = Uri.parse(door.resource)
        if resource.lab != head["resource"].lab:
            raise Usage(
                "config-invalid",
                f"`{where}`: door `{name}`: expected a resource of `{head['resource'].lab}`, got `{resource}`",
            )
    return OwnGateConfig(**head, socket=file.socket, doors=file.doors)


def render(value: OwnGateConfig) -> bytes:
    """Render `value`; `parse(render(x)) == x`."""
    own: dict[str, Any] = {}
    if value.socket is not None:
        own["socket"] = msgspec.to_builtins(value.socket)
        own["doors"] = {name: msgspec.to_builtins(door) for name, door in value.doors.items()}
    return tomli_w.dumps(head_table(value, kind=value.kind) | own).encode("utf-8")
