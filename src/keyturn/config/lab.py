"""Read and write `keyturn.toml`: the addresses of a lab, and nothing that trust rests on.

    version = 1
    lab = "acme.example"
    service = "https://keyturn.acme.example"  # absent: the log on this disk, or in `store`
    store = "postgresql://keyturn_service@db.acme.example/keyturn"     # absent: the log lies on this disk
    [witnesses]
    north = "https://north.example"
    [processes]
    gate-release = "https://gate.acme.example"

`store` is for whoever runs the service. A password in it is never shown, and only accepted in a file that its owner alone
can read.

The file is unsigned. Keys, quorums and operators come from the signed targets only (`trust.targets`); an address that
lies costs an answer, never a verdict.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Literal

import msgspec
import tomli_w
from msgspec import Meta

from keyturn.config import toml
from keyturn.formats.text import HttpUrl, LabName, Name

__all__ = ["LabConfig", "parse", "render"]


StoreUrl = Annotated[str, Meta(pattern=r"\Apostgresql://[!-~]{1,1900}\Z")]


@dataclass(frozen=True, slots=True)
class LabConfig:
    """Addresses of a lab: base URLs of its service (or absent), its witnesses by name, and its `builder`
    (or `builder-<name>`) and `gate-<name>`.

    `store` is the database that the log lies in, or absent when it lies on disk.
    """

    lab: str
    service: str | None
    witnesses: Mapping[str, str]
    processes: Mapping[str, str] = field(default_factory=dict)
    store: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "witnesses", MappingProxyType(dict(self.witnesses)))
        object.__setattr__(self, "processes", MappingProxyType(dict(self.processes)))


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: Literal[1]
    lab: LabName
    service: HttpUrl | None = None
    store: StoreUrl | None = None
    witnesses: Annotated[dict[Name, HttpUrl], Meta(max_length=64)] = {}
    processes: Annotated[dict[Name, HttpUrl], Meta(max_length=64)] = {}


def parse(raw: bytes, *, where: str = "keyturn.toml") -> LabConfig:
    """Parse `raw`, or raise `Usage`."""
    file = toml.parse(raw, _File, where=where)
    return LabConfig(
        lab=file.lab, service=file.service, store=file.store, witnesses=file.witnesses, processes=file.processes
    )


def render(value: LabConfig) -> bytes:
    """Render `value`; `parse(render(x)) == x`."""
    table: dict[str, object] = {"version": 1, "lab": value.lab}
    if value.service is not None:
        table["service"] = value.service
    if value.store is not None:
        table["store"] = value.store
    table["witnesses"] = dict(sorted(value.witnesses.items()))
    if value.processes:
        table["processes"] = dict(sorted(value.processes.items()))
    return tomli_w.dumps(table).encode("utf-8")
