"""Read one TOML file into a strict struct: unknown keys, wrong types, other versions and oversize are refused.

TOML 1.0 (`tomllib`) refuses duplicate keys itself. Shared by every file that a person of this machine edits; files that
are signed go through `trust.targets` instead.
"""

from __future__ import annotations

import tomllib
from typing import TypeVar

import msgspec

from keyturn.errors import Usage

__all__ = ["SIZE_BYTES_MAX", "parse"]

SIZE_BYTES_MAX = 64 * 1024

T = TypeVar("T")


def parse(raw: bytes, kind: type[T], *, where: str) -> T:
    """Parse `raw` as TOML into `kind` (a msgspec struct that forbids unknown fields), or raise `Usage` naming `where`."""
    if len(raw) > SIZE_BYTES_MAX:
        raise Usage("config-too-large", f"`{where}`: expected at most {SIZE_BYTES_MAX} bytes, got {len(raw)}")
    try:
        table = tomllib.loads(raw.decode("utf-8"))
        return msgspec.convert(table, kind)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError, RecursionError) as err:
        text = str(err)[:400]  # it quotes what it refuses, whatever its length
        raise Usage(
            "config-invalid",
            f"`{where}`: {text[:1].lower()}{text[1:]}",
            hint="docs/formats/configuration.md and step-toml.md say what each key may be; unknown keys are refused",
        ) from err
