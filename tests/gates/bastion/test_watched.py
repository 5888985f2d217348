"""A session that a second person must watch: nothing goes through without him, and he can end it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from keyturn.adapters.files.decision_files import DecisionFiles
from keyturn.formats import dsse, statement
from keyturn.formats.recording import RECORDING, Recording
from support.bastions import WATCHER_ABSENT_S, Bastion
from support.hosts import Asked, HostsLab
from support.processes import Process, running, wait_for

WHO = "group:security"


class Typing:
    """What somebody types: the standard input of a process that reads `path`."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self._fd, self._path = os.open(path, os.O_RDWR), path

    def into(self, words: list[str]) -> list[str]:
        return ["sh", "-c", 'exec "$@" <"$0"', str(self._path), *words]

    def types(self, text: str) -> None:
        os.write(self._fd, text.encode())


def watching(bastion: Bastion, asked: Asked, member: str = "cat", keys: Typing | None = None) -> Process:
    words = bastion.watch(asked, member)
    process = bastion.lab.stack.enter_context(
        running(words if keys is None else keys.into(words), environment=bastion.home(member))
    )
    process.wait_for_line("watching;")
    return process


def held(session: Process, times: int) -> None:
    """Wait until the person was told so often that it stands still."""
    wait_for("the freeze", lambda: session.output.count("nothing goes through until") >= times or None, session)


def decided(bastion: Bastion) -> list[tuple[str, str, str]]:
    read = DecisionFiles(bastion.place / "state" / "decisions").read(start=0)
    return [(one.outcome, one.code, one.requester) for one in read]


def test_nothing_goes_through_a_watched_session_unless_somebody_watches(
    lab: HostsLab, bastion: Bastion, tmp_path: Path
) -> None:
    asked = bastion.granted(watcher=WHO)
    made = Path("/tmp") / f"kt-watched-{lab.nonce()}"
    typing, keys = Typing(tmp_path / "typing"), Typing(tmp_path / "keys")
    session = lab.stack.enter_context(running(typing.into(bastion.front().ssh(asked, "ktada", "-tt"))))
    session.wait_for_line("nothing goes through until group security watches")
    typing.types(f"touch {made}; echo do''ne\n")
    first = watching(bastion, asked)
    session.wait_for_line("done")
    first.wait_for_line("done")
    assert made.exists()
    typing.types("read secret; echo got:$secret\n")

    # He stops looking, and says nothing any more: it stands still, and goes on where it was.
    first.signal(signal.SIGSTOP)
    held(session, 2)
    typing.types("hidden\n")
    session.tick(1.0)
    assert "got:hidden" not in session.output
    first.signal(signal.SIGCONT)
    session.wait_for_line("got:hidden")
    first.wait_for_line("got:hidden")

    # He leaves: the same at once. Somebody else comes, and ends it.
    first.stop()
    held(session, 3)
    typing.types(f"rm {made}\n")
    session.tick(1.0)
    assert made.exists(), "what is typed waits"
    second = watching(bastion, asked, "bob", keys)
    wait_for("what waited", lambda: not made.exists() or None, session)
    begin = time.monotonic()
    keys.types("end\n")
    session.wait(deadline_s=20)
    assert time.monotonic() - begin < 15
    assert "`bob`, who watches, ended it" in session.output
    second.stop()

    (path,) = bastion.recorded(1, of=asked)
    lines = bastion.cast(path)
    marks = [str(line[2]) for line in lines[1:] if line[1] == "m"]
    assert [mark for mark in marks if "watche" in mark or "end" in mark or "held" in mark] == [
        "watched by cat",
        "watched",
        "nobody watches: held",
        "watched",
        "cat watches no more",
        "nobody watches: held",
        "watched by bob",
        "watched",
        "ended by bob",
    ]
    assert [line[1] for line in lines[1:]].count("w") == 2, "what they signed is on the tape"
    logged = bastion.place / "state" / "logged" / path.stem
    wait_for("the recording in the log", lambda: logged.exists() or None, bastion.process)
    said = statement.parse(dsse.parse_own(logged.read_bytes()).payload, Recording, RECORDING).predicate
    assert said.watched_by == ("bob", "cat")
    wait_for("what was decided", lambda: decided(bastion).count(("refused", "watcher-left", "bob")) or None)
    assert ("granted", "", "cat") in decided(bastion)
    assert ("refused", "watcher-left", "cat") in decided(bastion)


def test_a_session_that_nobody_watches_ends_and_so_does_whatever_else_goes_through(
    bastion: Bastion, tmp_path: Path
) -> None:
    port = bastion.behind.port
    asked = bastion.granted(watcher="member:cat", sftp=True, forwards=(f"127.0.0.1:{port}",))
    front = bastion.front()
    mark = Path("/tmp") / f"kt-unwatched-{bastion.lab.nonce()}"
    begin = time.monotonic()
    alone = [
        bastion.lab.stack.enter_context(running(words))
        for words in (
            front.ssh(asked, "ktada", f"touch {mark}; echo ran"),
            front.ssh(asked, "ktada", more=("-W", f"127.0.0.1:{port}")),
            front.ssh(asked, "ktada", "sftp", more=("-s",)),
        )
    ]
    for one in alone:
        one.wait(deadline_s=30)
    assert time.monotonic() - begin > WATCHER_ABSENT_S - 1
    assert not mark.exists()
    assert not any("ran" in one.output.replace("touch", "") and "SSH-2.0" in one.output for one in alone)
    assert "watcher-absent" in bastion.process.output
    watcher = watching(bastion, asked)
    (tmp_path / "file").write_bytes(b"x" * 100_000)
    words = [word if word != "-p" else "-P" for word in front.ssh(asked, "ktada")[1:]]
    batch = f"put {tmp_path}/file {mark}\nrm {mark}\n"
    done = subprocess.run(["sftp", "-b", "-", *words], input=batch, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done
    assert "SSH-2.0-OpenSSH" in front.run(asked, "ktada", more=("-W", f"127.0.0.1:{port}")).stdout
    watcher.wait_for_line(f"1: to 127.0.0.1:{port}")
    wait_for("what went through by sftp", lambda: "sftp: 1" in watcher.output or None, watcher)
    watcher.wait_for_line(f"sftp: open to write '{mark}'")
    watcher.wait_for_line(f"sftp: remove '{mark}'")
    # More than whoever watches may be behind does not go through before he saw it, and then all of it does.
    (tmp_path / "came").touch()
    words = front.ssh(asked, "ktada", "head -c 3000000 /dev/zero | tr '\\0' x")
    with running(["sh", "-c", 'exec "$@" >"$0"', str(tmp_path / "came"), *words]) as bulk:
        wait_for("some of it", lambda: (tmp_path / "came").stat().st_size or None, bulk)
        bulk.tick(2.0)
        assert (tmp_path / "came").stat().st_size < 3_000_000, "nobody reads what the watcher is shown"
        wait_for("all of it", lambda: watcher.output.count("x") >= 3_000_000 or None, watcher)
        assert bulk.wait() == 0
    assert (tmp_path / "came").stat().st_size == 3_000_000
    watcher.stop()


@pytest.mark.parametrize(
    ("who", "member", "code"),
    [
        pytest.param(WHO, "ktada", "watcher-concerned", id="who comes in himself"),
        pytest.param(WHO, "dan", "watcher-other", id="somebody of no such group"),
        pytest.param("member:cat", "bob", "watcher-other", id="another than the one who is named"),
        pytest.param(None, "cat", "watch-none", id="of a request that wants nobody"),
    ],
)
def test_the_bastion_lets_nobody_watch_whom_the_request_does_not_want(
    bastion: Bastion, who: str | None, member: str, code: str
) -> None:
    asked = bastion.granted(**({} if who is None else {"watcher": who}))
    done = subprocess.run(
        bastion.watch(asked, member),
        env={**os.environ, **bastion.home(member)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, f"[{code}]" in done.stderr) == (1, True), done.stderr
