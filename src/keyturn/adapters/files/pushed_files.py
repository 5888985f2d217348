"""Keep what was pushed to a gate in files, by the digest of the record: `ports.PushedStore`.

state/pushed/<record digest>     the signed envelope, written whole and synced
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from keyturn.adapters.files import durable_files
from keyturn.adapters.files.plain_files import read_plain
from keyturn.errors import Unavailable
from keyturn.formats.digest import Sha256, parse_sha256

__all__ = ["PushedFiles"]


class PushedFiles:
    """The store in the directory `place`, which is the gate's own."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def keep(self, digest: Sha256, envelope: bytes) -> None:
        path = self._place / parse_sha256(digest, what="record")
        try:
            durable_files.replace(path, envelope, mode=0o600, directory_mode=0o700)
        except OSError as err:
            raise Unavailable(
                "journal-unwritable", f"what was pushed to the gate cannot be kept: {err.strerror}"
            ) from err

    def drop(self, digest: str) -> None:
        (self._place / digest).unlink(missing_ok=True)

    def kept(self) -> Sequence[bytes]:
        try:
            return tuple(read_plain(path) for path in sorted(self._place.glob("[0-9a-f]*")) if len(path.name) == 64)
        except OSError as err:
            raise Unavailable(
                "journal-unreadable", f"what was pushed to the gate cannot be read: {err.strerror}"
            ) from err
