"""Keep what a host gate must not forget in files: its uses (`UseJournalFiles`), and its connections.

    state/sessions/<boot>-<pid>-<started>    one connection that was answered for (`formats.host_session`)

Each file is written whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from keyturn.adapters.files import durable_files
from keyturn.adapters.files.plain_files import read_plain
from keyturn.adapters.files.use_journal import UseJournalFiles, unwritable_as_ours
from keyturn.errors import Malformed, Unavailable
from keyturn.formats import host_session
from keyturn.formats.host_session import HostSession

__all__ = ["HostJournalFiles"]


class HostJournalFiles(UseJournalFiles):
    """The journal in the directory `place`, which is the gate's own."""

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        self._sessions = place / "sessions"
        with unwritable_as_ours():
            durable_files.make_directories(self._sessions, mode=0o700)

    def sessions(self) -> Sequence[HostSession]:
        found = []
        for path in sorted(self._sessions.glob("[0-9a-f]*")):
            try:
                found.append(host_session.parse(read_plain(path)))
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
        with unwritable_as_ours():
            fresh.write_bytes(host_session.render(session))
            fresh.replace(path)

    def forget_session(self, session: HostSession) -> None:
        (self._sessions / session.name).unlink(missing_ok=True)
