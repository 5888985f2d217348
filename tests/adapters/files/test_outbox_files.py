"""Records that say something only together reach the log together, whenever the process that signed them dies."""

from __future__ import annotations

from pathlib import Path

import pytest

from keyturn.adapters.files.outbox_files import OutboxFiles
from keyturn.errors import KeyturnError, Malformed, Refused, Unavailable
from support.power import Power

GROUP = [b"provenance", b"test result", b"another"]


class Log:
    """A log that takes records, the same one once, until it has `dies_at` of them; then it raises `error`."""

    def __init__(self, *, dies_at: int | None = None, error: KeyturnError | None = None) -> None:
        self.taken: list[bytes] = []
        self._dies_at = dies_at
        self._error = error or Unavailable("no-answer", "nobody there")

    def append(self, envelope: bytes) -> int:
        if len(self.taken) == self._dies_at:
            raise self._error
        if envelope not in self.taken:
            self.taken.append(envelope)
        return self.taken.index(envelope)

    def recovered(self) -> None:
        self._dies_at = None


@pytest.mark.parametrize("dies_at", [0, 1, 2])
def test_what_is_left_follows_when_the_outbox_is_opened_again(tmp_path: Path, dies_at: int) -> None:
    log = Log(dies_at=dies_at)
    with pytest.raises(Unavailable):
        OutboxFiles(tmp_path / "outbox", log).send(GROUP)
    assert log.taken == GROUP[:dies_at]
    log.recovered()
    again = OutboxFiles(tmp_path / "outbox", log)
    assert again.resume() == 1
    assert log.taken == GROUP
    assert again.resume() == 0


def test_nothing_is_logged_before_all_of_it_is_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(dies_at=1)
    with Power(tmp_path, monkeypatch) as power:
        with pytest.raises(Unavailable):
            OutboxFiles(tmp_path / "outbox", log).send(GROUP)
        power.cut()
    log.recovered()
    assert OutboxFiles(tmp_path / "outbox", log).resume() == 1
    assert log.taken == GROUP


def test_an_outbox_says_whether_anything_waits(tmp_path: Path) -> None:
    outbox = OutboxFiles(tmp_path / "outbox", Log())
    assert not outbox.waits()
    outbox.send(GROUP)
    (tmp_path / "outbox" / ("0" * 64)).mkdir()
    (tmp_path / "outbox" / "notes").write_bytes(b"somebody's")
    assert not outbox.waits()
    (tmp_path / "outbox" / ("1" * 64 + ".refused")).write_bytes(b"a")
    assert outbox.waits()


def test_what_was_logged_whole_is_not_kept(tmp_path: Path) -> None:
    log = Log()
    OutboxFiles(tmp_path / "outbox", log).send(GROUP)
    assert log.taken == GROUP
    assert list((tmp_path / "outbox").iterdir()) == []


REFUSALS = [
    pytest.param(Refused("quota", "`builder:one` appended too much"), id="a quota that passes"),
    pytest.param(Refused("log-behind-witnesses", "cut off"), id="a log that waits for its newest packs"),
    pytest.param(Malformed("answer-invalid", "`/submit`: expected an index"), id="a service that was taken over"),
]


@pytest.mark.parametrize("error", REFUSALS)
def test_what_the_log_refuses_is_set_aside_and_holds_nothing_up(tmp_path: Path, error: KeyturnError) -> None:
    with pytest.raises(Unavailable):
        OutboxFiles(tmp_path / "outbox", Log(dies_at=0)).send(GROUP)
    outbox = OutboxFiles(tmp_path / "outbox", Log(dies_at=0, error=error))
    assert outbox.resume() == 1
    assert [path.suffix for path in (tmp_path / "outbox").iterdir()] == [".refused"], "nothing is lost"
    assert outbox.resume() == 0


@pytest.mark.parametrize("error", REFUSALS)
def test_a_log_that_says_no_for_a_while_loses_nothing_that_was_signed(tmp_path: Path, error: KeyturnError) -> None:
    log = Log(dies_at=1, error=error)
    outbox = OutboxFiles(tmp_path / "outbox", log)
    with pytest.raises(type(error)):
        outbox.send(GROUP)
    outbox.resume()
    log.recovered()
    assert outbox.resume() == 1
    assert log.taken == GROUP
    assert list((tmp_path / "outbox").iterdir()) == []


def test_a_record_with_a_line_break_is_none_of_ours(tmp_path: Path) -> None:
    log = Log()
    with pytest.raises(Malformed):
        OutboxFiles(tmp_path / "outbox", log).send([b"a\nb"])
    assert log.taken == []


def test_a_disk_that_takes_nothing_leaves_the_log_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "outbox").write_text("in the way")
    log = Log()
    with pytest.raises(Unavailable) as caught:
        OutboxFiles(tmp_path / "outbox", log).send(GROUP)
    assert caught.value.code == "outbox-unwritable"
    assert log.taken == []
