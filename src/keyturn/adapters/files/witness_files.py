"""A witness's memory on disk: `ports.CosignStore`. One process at a time holds it, for as long as that process lives.

<dir>/state/<sha256 of the origin>      the newest checkpoint that it cosigned, with its cosignature
<dir>/evidence/<sha256 of a request>    requests that may prove a fork; the newest 64 are kept

What lies in the place of a state and is none is never read as its absence: a witness that forgot would cosign another past.
"""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

from keyturn.adapters.files.durable_files import make_directories
from keyturn.adapters.files.plain_files import read_plain
from keyturn.adapters.log_on_disk.checkpoint_files import check_follows
from keyturn.adapters.log_on_disk.disk import Disk, PosixDisk
from keyturn.errors import Conflict, Malformed, Unavailable
from keyturn.formats import checkpoint as checkpoints
from keyturn.formats import note as notes
from keyturn.formats.digest import sha256

__all__ = ["WitnessFiles"]

_EVIDENCE_MAX = 64


class WitnessFiles:
    """The memory in `directory`; `Conflict` when another process holds it."""

    def __init__(self, directory: Path, *, disk: Disk | None = None) -> None:
        self._directory = directory
        self._disk = disk or PosixDisk()
        self._lock = threading.Lock()
        try:
            for place in ("state", "evidence"):
                make_directories(directory / place)
            self._held = os.open(directory / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
        except OSError as err:
            raise Unavailable(
                "witness-directory",
                f"the witness's directory cannot be used: `{err.filename}`: {err.strerror}",
                hint="run it as the user whose witness it is; what only lies in the place of `lock` is moved away",
            ) from err
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
        path = self._place(origin)
        try:
            raw = read_plain(path, size_bytes_max=notes.SIZE_BYTES_MAX)
            checkpoints.parse_body(notes.parse(raw).text)
        except Malformed as err:
            raise _damaged(origin, err.message) from err
        except OSError as err:
            if isinstance(err, FileNotFoundError) and not path.is_symlink():
                return None
            raise _damaged(origin, err.strerror or "it cannot be read") from err
        return raw

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


def _damaged(origin: str, why: str) -> Unavailable:
    return Unavailable(
        "witness-state-damaged",
        f"what this witness cosigned of `{origin[:120]}` last cannot be read: {why}",
        hint="it cosigns nothing more of that log; unless the file only needs its owner and mode back, set up a witness with a "
        "key of its own (docs/guide/backup.md)",
    )
