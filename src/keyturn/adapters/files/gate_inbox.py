"""What people bring to a gate for sessions in files: break-glass bundles and recovery grants.

    inbox/<name>.bundle     a break-glass request with its approvals (`keyturn grant sign-bundle`)
    inbox/<name>.recovery   a recovery grant (`keyturn recovery sign`)

Whoever can write there can bring something, and nobody believes it: the gate verifies every signature, each time. What is none of
these is passed over, and waited for by nobody: a pipe, a link to nowhere. Read again when the directory has changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from keyturn.adapters.files import durable_files
from keyturn.adapters.files.config_files import read_kept
from keyturn.errors import KeyturnError, Unavailable
from keyturn.formats.digest import sha256

__all__ = ["GateInbox"]

_SIZE_BYTES_MAX = 1 << 20
_FILES_MAX = 256


class GateInbox:
    """The inbox in the directory `place`."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._read: tuple[tuple[str, ...], dict[str, tuple[bytes, ...]]] = ((), {})

    def put(self, raw: bytes, kind: str) -> Path:
        """Keep `raw` as a file of this `kind` (`bundle`, `recovery`); the same again is done."""
        path = self._place / f"{sha256(raw)[:32]}.{kind}"
        try:
            durable_files.replace(path, raw, mode=0o600, directory_mode=0o700)
        except OSError as err:
            raise Unavailable("inbox-unwritable", f"`{path}` cannot be written: {err.strerror}") from err
        return path

    def files(self, kind: str) -> Sequence[bytes]:
        """The content of every file of this `kind`, by name."""
        try:
            paths = sorted(path for path in self._place.glob("*.*") if not path.name.startswith("."))[:_FILES_MAX]
            now = tuple(f"{path.name} {_changed(path)}" for path in paths)
        except OSError:
            return ()
        if now != self._read[0]:
            found: dict[str, tuple[bytes, ...]] = {}
            for path in paths:
                try:
                    raw = read_kept(path, size_bytes_max=_SIZE_BYTES_MAX)
                except KeyturnError:
                    continue
                found[path.suffix] = (*found.get(path.suffix, ()), raw)
            self._read = (now, found)
        return self._read[1].get(f".{kind}", ())


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:  # a link to nowhere hides nothing else that lies there
        return 0
