"""Read and write `witness.toml`: what a witness is called, and the logs that it watches.

    version = 1
    name = "north"
    [logs]
    "acme.example/log" = "<base64 of the log key's SubjectPublicKeyInfo>"

Its operator writes it (`keyturn witness init`) from what the lab's targets say; the witness believes nobody else about a
log's key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Literal

import msgspec
import tomli_w
from msgspec import Meta

from keyturn.config import toml
from keyturn.crypto.keys import PublicKey
from keyturn.errors import KeyturnError, Usage
from keyturn.formats.text import Name

__all__ = ["WitnessConfig", "parse", "render"]

Origin = Annotated[str, Meta(pattern=r"\A[!-*,-~]{1,255}\Z")]


@dataclass(frozen=True, slots=True)
class WitnessConfig:
    """The witness's C2SP name, and the key of each log by origin."""

    name: str
    logs: Mapping[str, PublicKey]

    def __post_init__(self) -> None:
        object.__setattr__(self, "logs", MappingProxyType(dict(self.logs)))


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: Literal[1]
    name: Name
    logs: Annotated[dict[Origin, str], Meta(min_length=1, max_length=256)]


def parse(raw: bytes, *, where: str = "witness.toml") -> WitnessConfig:
    """Parse `raw`, or raise `Usage`."""
    file = toml.parse(raw, _File, where=where)
    try:
        logs = {origin: PublicKey.from_text(key) for origin, key in file.logs.items()}
        for key in logs.values():
            _ = key.raw_ed25519  # refuses other keys: C2SP logs sign with Ed25519
    except KeyturnError as err:
        raise Usage("config-invalid", f"`{where}`: {err.message}") from err
    return WitnessConfig(file.name, logs)


def render(value: WitnessConfig) -> bytes:
    """Render `value`; `parse(render(x)) == x`."""
    table = {"version": 1, "name": value.name, "logs": {origin: key.text for origin, key in sorted(value.logs.items())}}
    return tomli_w.dumps(table).encode("utf-8")
