"""The release gate's journal: written whole, never replaced, and read again by the next process."""

from __future__ import annotations

from pathlib import Path

import pytest

from keyturn.adapters.files.release_journal import ReleaseJournalFiles
from keyturn.errors import Conflict, Malformed, Unavailable
from keyturn.formats.digest import Sha256
from support.releases import JournalInMemory

REQUEST = Sha256("a" * 64)


@pytest.fixture(params=["files", "memory"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> ReleaseJournalFiles | JournalInMemory:
    return ReleaseJournalFiles(tmp_path / "state") if request.param == "files" else JournalInMemory()


def test_nothing_is_known_of_a_request_before_it_is_kept(journal: ReleaseJournalFiles) -> None:
    assert (journal.use(REQUEST), journal.pack(REQUEST)) == (None, None)


def test_what_is_kept_is_read_again_and_the_same_is_kept_again(journal: ReleaseJournalFiles) -> None:
    for _ in range(2):
        journal.keep_use(REQUEST, b"use")
        journal.keep_pack(REQUEST, b"pack")
    assert (journal.use(REQUEST), journal.pack(REQUEST)) == (b"use", b"pack")


def test_another_use_or_pack_is_never_kept_over_the_first(journal: ReleaseJournalFiles) -> None:
    journal.keep_use(REQUEST, b"use")
    journal.keep_pack(REQUEST, b"pack")
    for keep in (journal.keep_use, journal.keep_pack):
        with pytest.raises(Conflict):
            keep(REQUEST, b"another")
    assert (journal.use(REQUEST), journal.pack(REQUEST)) == (b"use", b"pack")


def test_the_next_process_reads_what_the_last_one_kept_and_nobody_else_may(tmp_path: Path) -> None:
    ReleaseJournalFiles(tmp_path / "state").keep_use(REQUEST, b"use")
    assert ReleaseJournalFiles(tmp_path / "state").use(REQUEST) == b"use"
    assert [oct(path.stat().st_mode & 0o777) for path in (tmp_path / "state").iterdir()] == ["0o600"]


def test_a_request_that_is_no_digest_names_no_file(tmp_path: Path) -> None:
    with pytest.raises(Malformed):
        ReleaseJournalFiles(tmp_path).use(Sha256("../../etc/passwd"))


def test_a_journal_that_cannot_be_written_stops_the_gate(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the directory should be")
    with pytest.raises(Unavailable):
        ReleaseJournalFiles(tmp_path / "state").keep_use(REQUEST, b"use")
