"""A witness's memory on disk: `ports.CosignStore`. One process at a time holds it, for as long as that process lives.

<dir>/state/<sha256 of the origin>      the newest checkpoint that it cosigned, with its cosignature
<dir>/evidence/<sha256 of a request>    requests that may prove a fork; the newest 64 are kept
"""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

from keyturn.adapters.durable_files import make_directories
from keyturn.adapters.log_on_disk.checkpoint_files import check_follows
from keyturn.adapters.log_on_disk.disk import Disk, PosixDisk
from keyturn.errors import Conflict
from keyturn.formats.digest import sha256

__all__ = ["WitnessFiles"]

_EVIDENCE_MAX = 64


class WitnessFiles:
    """The memory in `directory`; `Conflict` when another process holds it."""

    def __init__(self, directory: Path, *, disk: Disk | None = None) -> None:
        self._directory = directory
        self._disk = disk or PosixDisk()
        self._lock = threading.Lock()
        for place in ("state", "evidence"):
            make_directories(directory / place)
        self._held = os.open(directory / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            os.close(self._held)
            raise Conflict(
                "witness-running", f"another process is this witness (`{directory.name}`)", hint="stop the other one"
            ) from err

    def close(self) -> None:
        """Let another process be this witness."""
        os.close(self._held)

    def read(self, origin: str) -> bytes | None:
        try:
            return self._place(origin).read_bytes()
        except FileNotFoundError:
            return None

    def swap(self, origin: str, old: bytes | None, new: bytes) -> None:
        with self._lock:
            if self.read(origin) != old:
                raise Conflict("checkpoint-changed", "the witness's state was replaced meanwhile")
            check_follows(old, new)
            self._disk.replace(self._place(origin), new, durable=True)

    def keep_evidence(self, origin: str, raw: bytes) -> None:
        with self._lock:
            place = self._directory / "evidence" / sha256(raw)
            self._disk.replace(place, raw, durable=True)
            kept = sorted(place.parent.iterdir(), key=lambda path: path.stat().st_mtime_ns)
            for path in kept[:-_EVIDENCE_MAX]:
                path.unlink()

    def _place(self, origin: str) -> Path:
        return self._directory / "state" / sha256(origin.encode())
