"""What lies in a gate's directories, or in that of a person's sessions, in place of a file: nobody waits for it or follows it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from keyturn.adapters.files.gate_inbox import GateInbox
from keyturn.adapters.files.held_grants import find_held
from keyturn.adapters.files.use_journal import UseJournalFiles
from keyturn.adapters.hosts.host_journal import HostJournalFiles
from keyturn.errors import Refused, Unavailable


@pytest.mark.timeout(20)
def test_a_pipe_and_a_link_to_nowhere_in_an_inbox_hide_nothing_and_are_waited_for_by_nobody(tmp_path: Path) -> None:
    inbox = GateInbox(tmp_path)
    inbox.put(b"brought", "bundle")
    os.mkfifo(tmp_path / "0.bundle")
    (tmp_path / "1.bundle").symlink_to(tmp_path / "nowhere")
    (tmp_path / "2.bundle").symlink_to(tmp_path / "2.bundle")
    (tmp_path / "3.bundle").mkdir()
    assert inbox.files("bundle") == (b"brought",)


@pytest.mark.timeout(20)
def test_a_pipe_in_a_journal_is_named_and_not_waited_for(tmp_path: Path) -> None:
    journal = HostJournalFiles(tmp_path)
    os.mkfifo(tmp_path / "sessions" / "0")
    os.mkfifo(tmp_path / "uses" / ("0" * 64))
    for read in (journal.sessions, UseJournalFiles(tmp_path).waiting):
        with pytest.raises(Unavailable) as caught:
            read()
        assert caught.value.code == "journal-unreadable"


@pytest.mark.timeout(20)
def test_a_directory_of_sessions_that_somebody_else_leads_elsewhere_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = tmp_path / "ours"
    ours.mkdir(mode=0o700)
    (tmp_path / "keyturn-ssh").symlink_to(ours)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with pytest.raises(Refused) as caught:
        find_held("gpu1", account=None, now=0)
    assert caught.value.code == "session-directory-open"
    (tmp_path / "keyturn-ssh").unlink()
    assert find_held("gpu1", account=None, now=0) is None
    os.mkfifo(tmp_path / "keyturn-ssh" / "gpu1.7")
    assert find_held("gpu1", account=None, now=0) is None
