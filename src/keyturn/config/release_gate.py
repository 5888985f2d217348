"""Read and write the `gate.toml` of a release gate: as `config.gate_head` has it, and

    [release]
    models = ["/srv/models"]                    # directories below which the gate itself hashes models

Without `service`, the log is the one beside it, in the same lab directory. A release gate has no `observe` mode: letting a
release through to see what would have happened is a release.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
import tomli_w
from msgspec import Meta

from keyturn.config import toml
from keyturn.config.gate_head import GateFile, GateHead, head_of, head_table

__all__ = ["ReleaseGateConfig", "parse", "render"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseGateConfig(GateHead):
    """A release gate as its operator configured it. `models` are absolute directories."""

    models: tuple[str, ...] = ()


class _Release(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    models: Annotated[
        tuple[Annotated[str, Meta(pattern=r"\A/[^\x00-\x1f]*\Z", max_length=4096)], ...], Meta(max_length=64)
    ] = ()


class _File(GateFile, frozen=True, kw_only=True, forbid_unknown_fields=True):
    kind: Literal["release"]
    release: _Release = _Release()


def parse(raw: bytes, *, where: str = "gate.toml") -> ReleaseGateConfig:
    """Parse `raw`, or raise `Usage` naming `where`."""
    file = toml.parse(raw, _File, where=where)
    return ReleaseGateConfig(**head_of(file, where=where), models=file.release.models)


def render(value: ReleaseGateConfig) -> bytes:
    """Render `value`; `parse(render(x)) == x`."""
    table = head_table(value, kind="release") | {"release": {"models": list(value.models)}}
    return tomli_w.dumps(table).encode("utf-8")
