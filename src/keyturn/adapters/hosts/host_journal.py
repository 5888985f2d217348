"""Keep what a host gate must not forget in files: `gates.host.needs.HostJournal`.

    state/sessions/<boot>-<pid>-<started>    one connection that was answered for (`formats.host_session`)
    state/uses/<grant>                       the signed use of a grant that the log has not got yet
    state/logged/<grant>                     the same, once it has

Each file is written whole, and uses are synced. What was logged is forgotten after `LOGGED_FOR_S`: no grant lives as long.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from keyturn.adapters.files import durable_files
from keyturn.errors import Malformed, Unavailable
from keyturn.formats import host_session
from keyturn.formats.digest import parse_sha256
from keyturn.formats.host_session import HostSession

__all__ = ["HostJournalFiles"]

LOGGED_FOR_S = 90 * 86_400


class HostJournalFiles:
    """The journal in the directory `place`, which is the gate's own."""

    def __init__(self, place: Path) -> None:
        self._sessions = place / "sessions"
        self._uses = place / "uses"
        self._logged = place / "logged"
        try:
            for directory in (self._sessions, self._uses, self._logged):
                durable_files.make_directories(directory, mode=0o700)
            for path in self._logged.glob("[0-9a-f]*"):
                if path.stat().st_mtime < time.time() - LOGGED_FOR_S:
                    path.unlink()
        except OSError as err:
            raise _unwritable(err) from err

    def sessions(self) -> Sequence[HostSession]:
        found = []
        for path in sorted(self._sessions.glob("[0-9a-f]*")):
            try:
                found.append(host_session.parse(path.read_bytes()))
            except OSError as err:
                raise Unavailable("journal-unreadable", f"the gate's journal cannot be read: {err.strerror}") from err
            except Malformed as err:
                raise Malformed(
                    "journal-damaged",
                    f"`{path}` is no connection of this gate: {err.message}",
                    hint="end the sessions of this host by hand, remove the file, and start the gate again",
                ) from err
        return found

    def keep_session(self, session: HostSession) -> None:
        # Not synced: a loss of power ends what it is about, and the death of this process loses nothing that was written.
        path = self._sessions / session.name
        fresh = path.with_name(f".{session.name}")
        try:
            fresh.write_bytes(host_session.render(session))
            fresh.replace(path)
        except OSError as err:
            raise _unwritable(err) from err

    def forget_session(self, session: HostSession) -> None:
        (self._sessions / session.name).unlink(missing_ok=True)

    def is_used(self, grant: str) -> bool:
        name = parse_sha256(grant, what="grant")
        return (self._uses / name).exists() or (self._logged / name).exists()

    def keep_use(self, grant: str, envelope: bytes) -> None:
        self._write(self._uses / parse_sha256(grant, what="grant"), envelope)

    def waiting(self) -> Sequence[tuple[str, bytes]]:
        try:
            paths = [path for path in sorted(self._uses.glob("[0-9a-f]*")) if len(path.name) == 64]
            return tuple((path.name, path.read_bytes()) for path in paths)
        except OSError as err:
            raise Unavailable("journal-unreadable", f"the gate's journal cannot be read: {err.strerror}") from err

    def logged(self, grant: str) -> None:
        try:
            (self._uses / grant).rename(self._logged / grant)
        except OSError as err:
            raise _unwritable(err) from err

    def _write(self, path: Path, content: bytes) -> None:
        try:
            durable_files.replace(path, content, mode=0o600, directory_mode=0o700)
        except OSError as err:
            raise _unwritable(err) from err


def _unwritable(err: OSError) -> Unavailable:
    return Unavailable(
        "journal-unwritable",
        f"the gate's journal cannot be written, so nobody is let in: {err.strerror}",
        hint="free space in the gate's directory",
    )
