"""Keep what a release gate did in files: the use it signed and the pack it made, by the digest of the request.

    state/<request digest>.use     the signed access-use, before it is logged
    state/<request digest>.pack    the pack, before anybody gets it

Each file is written whole, synced, and never replaced.
"""

from __future__ import annotations

from pathlib import Path

from keyturn.adapters.files import durable_files
from keyturn.adapters.files.plain_files import read_plain
from keyturn.errors import Conflict, Unavailable
from keyturn.formats.digest import Sha256, parse_sha256

__all__ = ["ReleaseJournalFiles"]


class ReleaseJournalFiles:
    """`ports.ReleaseJournal` in the directory `place`."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def use(self, request: Sha256) -> bytes | None:
        return self._read(request, "use")

    def keep_use(self, request: Sha256, envelope: bytes) -> None:
        self._keep(request, "use", envelope)

    def pack(self, request: Sha256) -> bytes | None:
        return self._read(request, "pack")

    def keep_pack(self, request: Sha256, pack: bytes) -> None:
        self._keep(request, "pack", pack)

    def _path(self, request: Sha256, kind: str) -> Path:
        return self._place / f"{parse_sha256(request, what='request')}.{kind}"

    def _read(self, request: Sha256, kind: str) -> bytes | None:
        try:
            return read_plain(self._path(request, kind))
        except FileNotFoundError:
            return None
        except OSError as err:
            raise Unavailable("journal-unreadable", f"the gate's journal cannot be read: {err.strerror}") from err

    def _keep(self, request: Sha256, kind: str, content: bytes) -> None:
        path = self._path(request, kind)
        try:
            durable_files.create(path, content, mode=0o600, directory_mode=0o700)
        except FileExistsError as err:
            if self._read(request, kind) != content:
                raise Conflict("journal-kept", f"the gate's journal holds another {kind} for this request") from err
        except OSError as err:
            raise Unavailable("journal-unwritable", f"the gate's journal cannot be written: {err.strerror}") from err
