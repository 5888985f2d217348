"""Read and write `gate.toml`: what one gate is, where it finds the log, and how much stricter than targets it is.

    version = 1
    name = "release"
    kind = "release"
    resource = "keyturn://acme.example/gate/release"
    service = "https://keyturn.acme.example"    # absent: the log beside it, in the same lab directory
    pinned_root = "<sha256 of the lab's first root>"
    log_age_max_s = 600                         # absent: what targets say
    witnesses_min = 2                           # absent: what targets say
    mode = "enforce"
    [release]
    models = ["/srv/models"]                    # directories below which the gate itself hashes models

The file belongs to whoever operates the gate, and may only tighten what targets say: `app.gates.follow_as_gate` takes the
stricter of the two, whatever the file claims. `pinned_root` is what its operator compared with a coworker. A release gate has no
`observe` mode: letting a release through to see what would have happened is a release.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
import tomli_w
from msgspec import Meta

from keyturn.config import toml
from keyturn.errors import Usage
from keyturn.formats.text import HexDigest, Name
from keyturn.formats.uri import Uri

__all__ = ["GateConfig", "parse", "render"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GateConfig:
    """A gate as its operator configured it. `models` are absolute directories; `None` where targets are strict enough."""

    name: str
    resource: Uri
    service: str | None
    pinned_root: str
    log_age_max_s: int | None = None
    witnesses_min: int | None = None
    models: tuple[str, ...] = ()


class _Release(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    models: Annotated[
        tuple[Annotated[str, Meta(pattern=r"\A/[^\x00-\x1f]*\Z", max_length=4096)], ...], Meta(max_length=64)
    ] = ()


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: Literal[1]
    name: Name
    kind: Literal["release"]
    resource: Annotated[str, Meta(max_length=1024)]
    service: Annotated[str, Meta(pattern=r"\Ahttps?://[!-~]{1,500}\Z")] | None = None
    pinned_root: HexDigest
    log_age_max_s: Annotated[int, Meta(ge=1, le=86400)] | None = None
    witnesses_min: Annotated[int, Meta(ge=1, le=64)] | None = None
    mode: Literal["enforce"]
    release: _Release = _Release()


def parse(raw: bytes, *, where: str = "gate.toml") -> GateConfig:
    """Parse `raw`, or raise `Usage` naming `where`."""
    file = toml.parse(raw, _File, where=where)
    resource = Uri.parse(file.resource)
    if (resource.type, resource.name) != ("gate", file.name):
        raise Usage("config-invalid", f"`{where}`: expected `resource` to be the gate `{file.name}`, got `{resource}`")
    return GateConfig(
        name=file.name,
        resource=resource,
        service=file.service,
        pinned_root=file.pinned_root,
        log_age_max_s=file.log_age_max_s,
        witnesses_min=file.witnesses_min,
        models=file.release.models,
    )


def render(value: GateConfig) -> bytes:
    """Render `value`; `parse(render(x)) == x`."""
    table: dict[str, object] = {
        "version": 1,
        "name": value.name,
        "kind": "release",
        "resource": str(value.resource),
        "pinned_root": value.pinned_root,
        "mode": "enforce",
    }
    for key, given in (
        ("service", value.service),
        ("log_age_max_s", value.log_age_max_s),
        ("witnesses_min", value.witnesses_min),
    ):
        if given is not None:
            table[key] = given
    table["release"] = {"models": list(value.models)}
    return tomli_w.dumps(table).encode("utf-8")
