"""Keep what a gate opened by break-glass in files, until the log has it.

    state/<use digest>.break-glass     the records of one use in the order in which to log them, one on a line; the use comes last

Each file is written whole and synced before anybody is let in (an envelope's canonical text has no line breaks).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from keyturn.adapters.files import durable_files
from keyturn.adapters.files.plain_files import read_plain
from keyturn.errors import Malformed, Unavailable
from keyturn.formats.digest import Sha256, parse_sha256

__all__ = ["BreakGlassJournalFiles"]

_SUFFIX = ".break-glass"


class BreakGlassJournalFiles:
    """`ports.BreakGlassJournal` in the directory `place`."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def entries(self) -> Sequence[tuple[bytes, ...]]:
        try:
            # A file that another thread forgets meanwhile is in the log: whoever wants the rest reads again.
            paths = sorted(self._place.glob(f"*{_SUFFIX}"), key=lambda path: (path.stat().st_mtime_ns, path.name))
            return tuple(tuple(read_plain(path).split(b"\n")) for path in paths)
        except OSError as err:
            raise Unavailable("journal-unreadable", f"the gate's journal cannot be read: {err.strerror}") from err

    def keep(self, use: Sha256, records: tuple[bytes, ...]) -> None:
        if any(b"\n" in record for record in records):
            raise Malformed("record-line-break", "expected records without line breaks")
        try:
            durable_files.replace(self._path(use), b"\n".join(records), mode=0o600, directory_mode=0o700)
        except OSError as err:
            raise Unavailable("journal-unwritable", f"the gate's journal cannot be written: {err.strerror}") from err

    def forget(self, use: Sha256) -> None:
        try:
            self._path(use).unlink(missing_ok=True)
            durable_files.sync_directory(self._place)
        except OSError as err:
            raise Unavailable("journal-unwritable", f"the gate's journal cannot be written: {err.strerror}") from err

    def _path(self, use: Sha256) -> Path:
        return self._place / f"{parse_sha256(use, what='use')}{_SUFFIX}"
