"""What goes through a bastion ends with its grant, with its recording, and with the bastion; and what was recorded stays."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from keyturn.adapters.over_http.http_client import HttpClient
from keyturn.adapters.recordings.sealing import opened
from keyturn.adapters.recordings.tape import BACKLOG_BYTES_MAX
from keyturn.errors import Refused
from keyturn.formats import gate_answer
from support.bastions import Bastion
from support.hosts import Asked, HostsLab
from support.processes import Process, running, wait_for


def session(bastion: Bastion, asked: Asked, *words: str) -> Process:
    """A session that says `in` once it is there."""
    return bastion.lab.stack.enter_context(running(bastion.front().ssh(asked, "ktada", "-tt", "echo in;", *words)))


def so_far(bastion: Bastion, path: Path) -> bytes:
    """What a recording has that does not end."""
    said = b""
    with path.open("rb") as file, pytest.raises(Refused, match="without its last chunk"):
        for chunk in opened(file, bastion.shares(path, "carol", "eve")):
            said += chunk
    return said


def ended_well_behind_a_broken_tape(bastion: Bastion) -> int:
    """What somebody's ssh ends with whose command ends well, once its tape is broken."""
    go_on = Path(f"/tmp/kt-go-on-{os.getpid()}")
    said = bastion.process.output.count("session-ended")
    command = f"head -c 400000 /dev/zero; until [ -e {go_on} ]; do sleep 0.02; done"
    words = bastion.front().ssh(bastion.granted(), "ktada", command)
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as client:
        wait_for("the tape to break", lambda: bastion.process.output.count("session-ended") > said or None)
        go_on.touch()
        try:
            return client.wait(timeout=30)
        finally:
            go_on.unlink()


def seconds_until_over(process: Process) -> float:
    begin = time.monotonic()
    process.wait(deadline_s=30)
    return time.monotonic() - begin


def test_a_session_ends_when_its_grant_is_revoked_or_over(lab: HostsLab, bastion: Bastion) -> None:
    short, long = bastion.granted(duration_s=8), bastion.granted()
    living = session(bastion, long, "sleep 100")
    dying = session(bastion, short, "sleep 100")
    for one in (living, dying):
        one.wait_for_line("in")
    assert seconds_until_over(dying) < 15
    assert living.alive, "the end of one ends no other"
    said = gate_answer.parse(HttpClient(bastion.url).post("/negative", lab.revocation(long)))[1]
    assert (said.gate, said.acted) == (str(lab.lab.gate_uri("front")), True)
    assert seconds_until_over(living) < 15
    assert not bastion.front().opens(long, "ktada")
    for asked in (short, long):
        (path,) = bastion.recorded(1, of=asked)
        assert "in" in "".join(str(line[2]) for line in bastion.cast(path)[1:])


def test_what_cannot_be_recorded_does_not_go_on(bastion: Bastion) -> None:
    bastion.process.stop()
    bastion.start("prlimit", "--fsize=300000")
    full = bastion.granted()
    filling = session(bastion, full, "head -c 3000000 /dev/urandom | base64; sleep 100")
    assert seconds_until_over(filling) < 25, "it would have gone on for 100 s"
    assert "session-ended" in bastion.process.output
    bulk = bastion.front().ssh(bastion.granted(), "ktada", "head -c 60000000 /dev/zero")
    done = subprocess.run(bulk, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    assert done.returncode == 255, "it does not look as if all had come"
    assert len(done.stdout) <= BACKLOG_BYTES_MAX + 300_000 + (32 << 10)
    assert ended_well_behind_a_broken_tape(bastion) != 0
    bastion.process.stop()
    (bastion.recordings / "open").chmod(0o700)
    kept = bastion.recordings / "open"
    elsewhere = kept.rename(bastion.recordings / "away")
    kept.write_text("no directory")
    try:
        with pytest.raises(AssertionError):
            bastion.start()
    finally:
        kept.unlink()
        elsewhere.rename(kept)
    bastion.start()
    found = bastion.recorded(1, of=full)
    assert len(so_far(bastion, found[0])) > 50_000


def test_a_bastion_that_is_killed_takes_its_sessions_along_and_keeps_what_it_recorded(bastion: Bastion) -> None:
    granted = bastion.granted()
    living = session(bastion, granted, "cat")
    living.wait_for_line("in")
    part = bastion.recordings / "open"
    wait_for(
        "what was said, on the disk", lambda: any(b'"in' in so_far(bastion, one) for one in part.iterdir()) or None
    )
    time_of_death = time.monotonic()
    bastion.process.child.kill()
    living.wait(deadline_s=20)
    assert time.monotonic() - time_of_death < 20
    left = ["pgrep", "-u", "ktada", "-x", "cat"]
    wait_for(
        "the host to end what its client left", lambda: subprocess.run(left, capture_output=True).returncode or None
    )
    bastion.start()
    (path,) = bastion.recorded(1, of=granted)
    assert b'"in' in so_far(bastion, path)
    logged = bastion.place / "state" / "logged" / path.stem
    wait_for("the recording in the log", lambda: logged.exists() or None, bastion.process)
