"""Keep what a release gate did in files: the use it signed and the pack it made, by the digest of the request.

    state/<request digest>.use     the signed access-use, before it is logged
    state/<request digest>.pack    the pack, before anybody gets it

Each file is written whole, synced, and never replaced.
"""

from __future__ import annotations

import os
from pathlib import Path

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
            return self._path(request, kind).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as err:
            raise Unavailable("journal-unreadable", f"the gate's journal cannot be read: {err.strerror}") from err

    def _keep(self, request: Sha256, kind: str, content: bytes) -> None:
        path = self._path(request, kind)
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            self._place.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(fresh, path)  # unlike a rename, a link never replaces
            except FileExistsError as err:
                if self._read(request, kind) != content:
                    raise Conflict("journal-kept", f"the gate's journal holds another {kind} for this request") from err
            finally:
                fresh.unlink()
            directory = os.open(self._place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError as err:
            raise Unavailable("journal-unwritable", f"the gate's journal cannot be written: {err.strerror}") from err
