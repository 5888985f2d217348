"""Remember what a run's inputs were read as, so that the process after this one need not read them again.

A file of a directory that only the builder reaches holds, for one path, every file as it was seen before it was read, and the
SHA-256 that came of it. It is believed while every file still looks the same, by the measure that `check_held` has too:
device, inode, size, mode, and both times. Nothing is synced: what a loss of power tore has another digest, and is read again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec

from keyturn.bulk.manifest import Found
from keyturn.formats.manifest import Contents

__all__ = ["RememberedInputs"]


class _Held(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: Literal[1]
    seen: tuple[Found, ...]
    contents: bytes
    sha256: str


class RememberedInputs:
    """What the inputs of one run were read as; in `directory`, which is removed with the run."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def recall(self, path: Path, seen: Sequence[Found]) -> Contents | None:
        """What `path` was read as when it looked like `seen`, or `None`."""
        try:
            held = msgspec.msgpack.decode(self._file(path).read_bytes(), type=_Held)
            if held.seen != tuple(seen) or hashlib.sha256(held.contents).hexdigest() != held.sha256:
                return None
            return msgspec.msgpack.decode(held.contents, type=Contents)
        except (OSError, msgspec.MsgspecError):
            return None

    def keep(self, path: Path, seen: Sequence[Found], contents: Contents) -> None:
        """Remember that `path`, which looked like `seen`, is `contents`. A full disk forgets."""
        content = msgspec.msgpack.encode(contents)
        held = _Held(1, tuple(seen), content, hashlib.sha256(content).hexdigest())
        with suppress(OSError):
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh = self._file(path).with_suffix(".new")
            fresh.write_bytes(msgspec.msgpack.encode(held))
            fresh.replace(self._file(path))

    def _file(self, path: Path) -> Path:
        return self._directory / hashlib.sha256(os.fsencode(path)).hexdigest()
