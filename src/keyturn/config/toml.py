"""Read one TOML file into a strict struct: unknown keys, wrong types, other versions and oversize are refused.

TOML 1.0 (`tomllib`) refuses duplicate keys itself. Shared by every file that a person of this machine edits; files that
are signed go through `trust.targets` instead.
"""

from __future__ import annotations

import tomllib
from typing import TypeVar

import msgspec

from keyturn.config.mistakes import mistakes
from keyturn.errors import KeyturnError, Usage

__all__ = ["SIZE_BYTES_MAX", "parse"]

SIZE_BYTES_MAX = 64 * 1024

T = TypeVar("T")


def parse(raw: bytes, kind: type[T], *, where: str) -> T:
    """Parse `raw` as TOML into `kind` (a msgspec struct that forbids unknown fields), or raise `Usage` naming `where`."""
    if len(raw) > SIZE_BYTES_MAX:
        raise Usage("config-too-large", f"`{where}`: expected at most {SIZE_BYTES_MAX} bytes, got {len(raw)}")
    try:
        table = tomllib.loads(raw.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as err:
        raise _invalid(where, (str(err)[:400],)) from err  # it quotes what it refuses, whatever its length
    try:
        return msgspec.convert(table, kind)
    except (msgspec.ValidationError, RecursionError) as err:
        raise _invalid(where, mistakes(table, kind) or (str(err)[:400],)) from err
    except KeyturnError as err:
        found = mistakes(table, kind)
        if len(found) < 2:
            raise  # it has a code of its own
        raise _invalid(where, found) from err


def _invalid(where: str, texts: tuple[str, ...]) -> Usage:
    said = [f"`{where}`: {text[:1].lower()}{text[1:]}" for text in texts]
    more = f" (and {len(said) - 1} more)" if len(said) > 1 else ""
    return Usage(
        "config-invalid",
        said[0] + more,
        reasons=tuple(("config-invalid", text) for text in said),
        hint="docs/formats/configuration.md and step-toml.md say what each key may be; unknown keys are refused",
    )
