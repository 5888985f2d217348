"""Find the log's keys on this machine: `keys/log`, and `keys/log-2`, `keys/log-3` ... after each change.

A key file is never renamed, replaced or overwritten. Which of them sign is what the targets name, never what the files are
called: see docs/decisions/0021-changing-witnesses.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from keyturn.crypto.signers import SoftwareKey
from keyturn.wiring.trust.trust import lab_keys

__all__ = ["key_names", "key_ring", "next_key_name"]

_NAME = re.compile(r"log(?:-([1-9][0-9]{0,8}))?\Z")


def key_names(directory: Path) -> tuple[str, ...]:
    """The names of the log's keys that the lab in `directory` has, oldest first."""
    found = [(int(match[1] or 1), match[0]) for path in (directory / "keys").glob("log*") if (match := _match(path))]
    return tuple(name for _, name in sorted(found))


def next_key_name(directory: Path) -> str:
    """The name that the log's next key gets."""
    newest = key_names(directory)[-1:]
    number = max((int(match[1] or 1) for name in newest if (match := _NAME.match(name))), default=1)
    return f"log-{number + 1}"


def key_ring(directory: Path) -> Callable[[], tuple[SoftwareKey, ...]]:
    """The log's keys: each is read once, and a new one as soon as it is there. Raises when there is none to begin with."""
    known: dict[str, SoftwareKey] = {}

    def read() -> tuple[SoftwareKey, ...]:
        for name in key_names(directory):
            if name not in known:
                known[name] = lab_keys(directory).read(name)
        return tuple(known.values())

    if not read():
        lab_keys(directory).read("log")  # raises, and says where it should be
    return read


def _match(path: Path) -> re.Match[str] | None:
    return _NAME.match(path.name)
