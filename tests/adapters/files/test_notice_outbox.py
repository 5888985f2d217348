"""The outbox of notifications: nothing kept is lost, nothing goes to a receiver that rests, and one receiver is not another."""

from __future__ import annotations

import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyturn.adapters.files.notice_outbox import REST_MAX_S, NoticeOutboxSqlite
from keyturn.errors import Conflict, Unavailable

FOR_BOB = ("e1", "bob", "a title", "a body")
FOR_EVE = ("e1", "eve", "a title", "a body")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "notify" / "outbox.sqlite"


@pytest.fixture
def outbox(path: Path) -> Iterator[NoticeOutboxSqlite]:
    made = NoticeOutboxSqlite(path)
    yield made
    made.close()


def test_what_was_told_and_what_must_be_told_are_there_when_it_is_opened_again(
    path: Path, outbox: NoticeOutboxSqlite
) -> None:
    assert outbox.told() is None
    outbox.keep(b"one", [FOR_BOB], now=1)
    outbox.keep(b"two", [FOR_EVE], now=2)
    outbox.close()
    again = NoticeOutboxSqlite(path)
    assert again.told() == b"two"
    assert again.waiting() == {"bob": 1, "eve": 1}
    again.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_one_event_goes_to_one_receiver_once(outbox: NoticeOutboxSqlite) -> None:
    outbox.keep(b"", [FOR_BOB, FOR_BOB], now=1)
    notice = outbox.next_for("bob", now=1)
    assert notice is not None
    assert (notice.title, notice.body) == ("a title", "a body")
    outbox.delivered(notice, now=1)
    outbox.keep(b"", [FOR_BOB], now=2)
    assert outbox.next_for("bob", now=2) is None


def test_a_receiver_that_fails_rests_longer_each_time_and_no_other_does(outbox: NoticeOutboxSqlite) -> None:
    outbox.keep(b"", [FOR_BOB, FOR_EVE], now=0)
    now, rests = 0, []
    for _ in range(30):
        notice = outbox.next_for("bob", now=now)
        assert notice is not None
        rests.append(outbox.failed(notice, now=now))
        assert outbox.next_for("bob", now=now + rests[-1] - 1) is None
        assert outbox.next_for("eve", now=now) is not None
        now += rests[-1]
    assert rests[:4] == [2, 4, 8, 16]
    assert rests[-1] == REST_MAX_S
    notice = outbox.next_for("bob", now=now)
    assert notice is not None
    outbox.delivered(notice, now=now)
    outbox.keep(b"", [("e2", "bob", "t", "b")], now=now)
    notice = outbox.next_for("bob", now=now)
    assert notice is not None, "whoever took one rests no more"
    assert outbox.failed(notice, now=now) == 2


def test_a_notice_that_is_never_taken_keeps_no_other_from_its_receiver(outbox: NoticeOutboxSqlite) -> None:
    outbox.keep(b"", [("bad", "bob", "bad", ""), ("good", "bob", "good", "")], now=0)
    bad = outbox.next_for("bob", now=0)
    assert bad is not None
    rest_s = outbox.failed(bad, now=0)
    good = outbox.next_for("bob", now=rest_s)
    assert good is not None
    assert (bad.title, good.title) == ("bad", "good")


def test_what_no_receiver_took_is_given_up_after_a_time_and_counted(outbox: NoticeOutboxSqlite) -> None:
    outbox.keep(b"", [FOR_BOB, FOR_EVE], now=10)
    notice = outbox.next_for("bob", now=10)
    assert notice is not None
    outbox.delivered(notice, now=10)
    assert outbox.forget(before=10) == 0
    assert outbox.forget(before=11) == 1
    assert outbox.waiting() == {}


def test_a_crash_in_the_middle_of_keeping_leaves_what_was_before(path: Path, outbox: NoticeOutboxSqlite) -> None:
    outbox.keep(b"before", [FOR_BOB], now=1)
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from keyturn.adapters.files.notice_outbox import NoticeOutboxSqlite\n"
        "class Dying(list):\n"
        "    def __iter__(self):\n"
        "        yield ('e2', 'eve', 't', 'b')\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "NoticeOutboxSqlite(Path(sys.argv[1])).keep(b'after', Dying(), now=2)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, path], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (outbox.told(), outbox.waiting()) == (b"before", {"bob": 1})


def test_a_place_that_cannot_be_used_is_said(tmp_path: Path, path: Path, outbox: NoticeOutboxSqlite) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="outbox-unwritable"):
        NoticeOutboxSqlite(tmp_path / "file" / "outbox.sqlite")
    garbage = tmp_path / "garbage.sqlite"
    garbage.write_bytes(b"garbage" * 1000)
    with pytest.raises(Unavailable, match="outbox-unwritable"):
        NoticeOutboxSqlite(garbage)
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 9")
    db.close()
    with pytest.raises(Conflict, match="outbox-version"):
        NoticeOutboxSqlite(path)
    outbox.close()
    with pytest.raises(Unavailable, match="outbox-unwritable"):
        outbox.told()
