"""The notifier's outbox after a crash or a loss of power at any of its writes: nothing is lost, and nothing is there by half."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from keyturn.adapters.files.notice_outbox import REST_MAX_S, NoticeOutboxSqlite
from support.traced import Life, Survives, trace

KEPT = {
    1: [("e1", "bob"), ("e1", "eve")],
    2: [("e2", "bob")],
    3: [("e3", "eve"), ("e3", "bob"), ("e3", "ada")],
}
"""What must be told, by when it was kept. `told` is that number."""
LIFE = """
import os, sys
from pathlib import Path
from keyturn.adapters.files.notice_outbox import NoticeOutboxSqlite

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def opened():
    return NoticeOutboxSqlite(Path(sys.argv[1]) / "notify" / "outbox.sqlite")

def keep(number):
    outbox.keep(str(number).encode(), [(*one, one[0], one[1] * 2000) for one in KEPT[number]], now=number)
    say("kept", number)

def give(receiver):
    notice = outbox.next_for(receiver, now=100)
    say("gave", notice.title, receiver)
    outbox.delivered(notice, now=100)
    say("noted", notice.title, receiver)

KEPT = {kept}
outbox = opened()
keep(1)
give("bob")
outbox.failed(outbox.next_for("eve", now=1), now=1)
keep(2)
outbox.close()
outbox = opened()
give("bob")
outbox.forget(before=2)
say("forgot")
keep(3)
give("ada")
outbox.close()
"""


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Life:
    root = tmp_path_factory.mktemp("outbox") / "lab"
    root.mkdir()
    return trace([sys.executable, "-c", LIFE.replace("{kept}", repr(KEPT)), root], root)


def test_a_life_without_a_crash_is_seen_whole(life: Life, tmp_path: Path) -> None:
    *_, last = life.crashes()
    assert last.said[0] == "kept 1"
    assert last.said[-1] == "noted e3 ada"
    last.leave_in(tmp_path / "after", survives="synced")
    outbox = opened(tmp_path / "after")
    assert (outbox.told(), outbox.waiting()) == (b"3", {"eve": 1, "bob": 1})
    outbox.close()
    assert sum(one.call == "pwrite64" for one in life.operations) > 50


@pytest.mark.parametrize("survives", ["all", "synced"])
@pytest.mark.timeout(240)
def test_after_a_crash_at_any_write_all_that_was_kept_is_told_and_no_more(
    life: Life, tmp_path: Path, survives: Survives
) -> None:
    for crash in life.crashes():
        crash.leave_in(tmp_path / "after", survives=survives)
        words = [line.split() for line in crash.said]
        kept = max((int(number) for said, number in (w for w in words if w[0] == "kept")), default=0)
        gave = {(event, to) for said, event, to in (w for w in words if w[0] == "gave")}
        noted = {(event, to) for said, event, to in (w for w in words if w[0] == "noted")}
        given_up = {("e1", "eve")}  # by `forget`, which is told of
        outbox = opened(tmp_path / "after")
        state = int(outbox.told() or b"0")
        assert kept <= state <= kept + 1, "what was acknowledged is there, and at most what was being kept"
        there = {one for number in range(1, state + 1) for one in KEPT[number]}
        told = drained(outbox)
        assert len(told) == len(set(told)), "each once, after one crash"
        assert set(told) <= there - noted, "nothing of what was not kept, and nothing that was noted as given"
        assert there - gave - set(told) <= (given_up if state >= 2 else set()), "nothing is lost"
        for number in range(state + 1, 4):  # the notifier looks again, from what was told
            outbox.keep(b"%d" % number, [(*one, one[0], one[1]) for one in KEPT[number]], now=number)
        everything = {one for number in KEPT for one in KEPT[number]}
        assert gave | set(told) | set(drained(outbox)) | given_up == everything
        assert outbox.waiting() == {}
        outbox.close()


def opened(place: Path) -> NoticeOutboxSqlite:
    return NoticeOutboxSqlite(place / "notify" / "outbox.sqlite")


def drained(outbox: NoticeOutboxSqlite) -> list[tuple[str, str]]:
    """Give everything that waits; what was given."""
    found = []
    for receiver in ("ada", "bob", "eve"):
        while (notice := outbox.next_for(receiver, now=100 + REST_MAX_S)) is not None:
            assert notice.body in (receiver, receiver * 2000), "whole"
            found.append((notice.title, receiver))
            outbox.delivered(notice, now=100)
    return found
