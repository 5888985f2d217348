"""Keep the uses that a gate for sessions signed in files, until the log has them and for as long as their grants may live.

    state/uses/<grant>      the signed use of a grant that the log has not got yet
    state/logged/<grant>    the same, once it has

Each file is written whole and synced. What was logged is forgotten after `LOGGED_FOR_S`: no grant lives as long.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from keyturn.adapters.files import durable_files
from keyturn.adapters.files.plain_files import read_plain
from keyturn.errors import Unavailable
from keyturn.formats.digest import parse_sha256

__all__ = ["UseJournalFiles", "unwritable_as_ours"]

LOGGED_FOR_S = 90 * 86_400


class UseJournalFiles:
    """The journal in the directory `place`, which is the gate's own."""

    def __init__(self, place: Path) -> None:
        self._uses = place / "uses"
        self._logged = place / "logged"
        with unwritable_as_ours():
            for directory in (self._uses, self._logged):
                durable_files.make_directories(directory, mode=0o700)
            for path in self._logged.glob("[0-9a-f]*"):
                if path.stat().st_mtime < time.time() - LOGGED_FOR_S:
                    path.unlink()

    def is_used(self, grant: str) -> bool:
        name = parse_sha256(grant, what="grant")
        return (self._uses / name).exists() or (self._logged / name).exists()

    def keep_use(self, grant: str, envelope: bytes) -> None:
        path = self._uses / parse_sha256(grant, what="grant")
        with unwritable_as_ours():
            durable_files.replace(path, envelope, mode=0o600, directory_mode=0o700)

    def waiting(self) -> Sequence[tuple[str, bytes]]:
        try:
            paths = [path for path in sorted(self._uses.glob("[0-9a-f]*")) if len(path.name) == 64]
            return tuple((path.name, read_plain(path)) for path in paths)
        except OSError as err:
            raise Unavailable("journal-unreadable", f"the gate's journal cannot be read: {err.strerror}") from err

    def logged(self, grant: str) -> None:
        with unwritable_as_ours():
            (self._uses / grant).rename(self._logged / grant)


@contextmanager
def unwritable_as_ours() -> Iterator[None]:
    """Raise `Unavailable` where the disk does not take what is kept."""
    try:
        yield
    except OSError as err:
        raise Unavailable(
            "journal-unwritable",
            f"the gate's journal cannot be written, so nobody is let in: {err.strerror}",
            hint="free space in the gate's directory",
        ) from err
