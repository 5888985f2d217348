"""What the `gate.toml` of every gate begins with: which gate it is, where it finds the log, and how much stricter than targets.

    version = 1
    name = "release"
    kind = "release"
    resource = "keyturn://acme.example/gate/release"
    service = "https://keyturn.acme.example"
    pinned_root = "<sha256 of the lab's first root>"
    log_age_max_s = 600                         # absent: what targets say
    witnesses_min = 2                           # absent: what targets say
    mode = "enforce"                            # a host's gate alone can also "observe", with `observe_until`

The file belongs to whoever operates the gate, and may only tighten what targets say: `app.gates.follow_as_gate` takes the
stricter of the two, whatever the file claims. `pinned_root` is what its operator compared with a coworker.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from keyturn.config import toml
from keyturn.errors import Usage
from keyturn.formats.text import HexDigest, HttpUrl, Name, PosixTime
from keyturn.formats.uri import Uri

__all__ = ["GateFile", "GateHead", "head_of", "head_table", "kind_of", "whose"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GateHead:
    """A gate as its operator configured it; `None` where targets are strict enough, or the log lies beside it."""

    name: str
    resource: Uri
    service: str | None
    pinned_root: str
    log_age_max_s: int | None = None
    witnesses_min: int | None = None
    observe_until: int | None = None

    @property
    def observes(self) -> bool:
        """Whether the gate only says what it would decide, and opens nothing."""
        return self.observe_until is not None


class GateFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The same as it stands in the file; each gate adds its `kind` and its own table."""

    version: Literal[1]
    name: Name
    resource: Annotated[str, Meta(max_length=1024)]
    service: HttpUrl | None = None
    pinned_root: HexDigest
    log_age_max_s: Annotated[int, Meta(ge=1, le=86400)] | None = None
    witnesses_min: Annotated[int, Meta(ge=1, le=64)] | None = None
    mode: Literal["enforce", "observe"]
    observe_until: PosixTime | None = None


def head_of(file: GateFile, *, where: str, may_observe: bool = False) -> dict[str, Any]:
    """The fields of a `GateHead` out of `file`, or `Usage` naming `where` when its resource is not that gate, or it observes and
    may not."""
    if file.mode == "observe" and not may_observe:
        raise Usage("config-invalid", f"`{where}`: expected `mode` to be `enforce`: a `{file.kind}` gate has no other")  # type: ignore[attr-defined]  # each gate's own
    if (file.mode == "observe") != (file.observe_until is not None):
        raise Usage(
            "config-invalid",
            f"`{where}`: expected `observe_until` (POSIX seconds) with mode `observe`, and with no other",
            hint="date -d '+14 days' +%s",
        )
    resource = Uri.parse(file.resource)
    if (resource.type, resource.name) != ("gate", file.name):
        raise Usage("config-invalid", f"`{where}`: expected `resource` to be the gate `{file.name}`, got `{resource}`")
    return {
        "name": file.name,
        "resource": resource,
        "service": file.service,
        "pinned_root": file.pinned_root,
        "log_age_max_s": file.log_age_max_s,
        "witnesses_min": file.witnesses_min,
        "observe_until": file.observe_until,
    }


def head_table(value: GateHead, *, kind: str) -> dict[str, Any]:
    """The head of the table that is rendered: what is `None` is absent."""
    table: dict[str, Any] = {"version": 1, "name": value.name, "kind": kind, "resource": str(value.resource)}
    if value.service is not None:
        table["service"] = value.service
    table |= {"pinned_root": value.pinned_root, "mode": "observe" if value.observes else "enforce"}
    for key in ("observe_until", "log_age_max_s", "witnesses_min"):
        given = getattr(value, key)
        if given is not None:
            table[key] = given
    return table


class _Whose(msgspec.Struct, frozen=True):
    resource: Annotated[str, Meta(max_length=1024)]
    pinned_root: HexDigest
    service: HttpUrl | None = None


def whose(raw: bytes, *, where: str) -> GateHead:
    """Which gate the gate.toml `raw` is of, of any kind, and where it finds the log."""
    found = toml.parse(raw, _Whose, where=where)
    resource = Uri.parse(found.resource)
    return GateHead(name=resource.name, resource=resource, service=found.service, pinned_root=found.pinned_root)


class _Kind(msgspec.Struct, frozen=True):
    kind: str


def kind_of(raw: bytes, *, where: str) -> str:
    """The kind of gate that the gate.toml `raw` is of; what else it says is its own kind's to read."""
    return toml.parse(raw, _Kind, where=where).kind
