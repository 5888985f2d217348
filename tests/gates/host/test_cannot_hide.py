"""Nothing that an account starts hides from the end of its grant, whatever its processes say of themselves: real sshd, kernel."""

from __future__ import annotations

import os
import pwd
import shlex
import subprocess
import time
from pathlib import Path

import msgspec
import pytest

from keyturn.adapters.hosts.host_processes import LinuxHost
from keyturn.formats.host_session import HostSession
from support.hosts import Host, HostsLab
from support.processes import running, wait_for

WITHIN_S = 5.0
HIDDEN = {
    "behind a name that is no text": "ctypes.CDLL(None).prctl(15, b'\\xff\\xfe')\ntime.sleep(300)",
    "behind its first thread, which has ended": (
        "threading.Thread(target=time.sleep, args=(300,)).start()\nctypes.CDLL(None).pthread_exit(None)"
    ),
}
DETACH = (
    "import ctypes, os, threading, time\nif os.fork(): os._exit(0)\nos.setsid()\nprint(os.getpid(), flush=True)\n"
    "for number in (0, 1, 2): os.close(number)\n"
)
DEEP = """[ $1 = 0 ] && { echo deep; exec sleep 300; }; sh -c "$0" "$0" $(($1-1)); :"""


def mounted() -> Path:
    """Where the kernel's control groups are."""
    words = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    return Path(next(word[1] for word in words if word[2] == "cgroup2"))


def group_of(pid: int) -> Path:
    """The control group that the gate made for what `pid` belongs to."""
    path = next(
        line[3:] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines() if line.startswith("0::/keyturn-host")
    )
    return mounted() / path[1:]


def is_empty(group: Path) -> bool:
    return not group.exists() or "populated 0" in (group / "cgroup.events").read_text()


@pytest.mark.parametrize("how", HIDDEN)
def test_what_a_closed_session_left_does_not_hide(lab: HostsLab, host: Host, how: str) -> None:
    asked = lab.granted()
    done = host.run(asked, "ktada", f"/usr/bin/python3 -c {shlex.quote(DETACH + HIDDEN[how])}; sleep 2")
    group = group_of(int(done.stdout))
    try:
        assert not is_empty(group)
        lab.log.append(lab.revocation(asked))
        wait_for("what was left to end", lambda: is_empty(group) or None, deadline_s=WITHIN_S)
    finally:
        if group.exists():
            (group / "cgroup.kill").write_text("1")


def test_a_tree_deeper_than_python_recurses_ends_and_the_gate_lives(lab: HostsLab, host: Host) -> None:
    asked = lab.granted()
    assert host.gate is not None
    with running(
        host.ssh(asked, "ktada", f"sh -c {shlex.quote(DEEP)} {shlex.quote(DEEP)} 1100", more=("-tt",))
    ) as session:
        session.wait_for_line("deep")
        [name] = [path.name for path in (host.directory / "state" / "sessions").iterdir()]
        group = group_of(int(name.split("-")[-2]))
        try:
            since = time.monotonic()
            lab.log.append(lab.revocation(asked))
            session.wait()
            assert time.monotonic() - since < WITHIN_S
            wait_for("the tree to end", lambda: is_empty(group) or None)
            assert host.gate.alive, host.gate.output
        finally:
            if group.exists():
                (group / "cgroup.kill").write_text("1")
    assert host.opens(lab.granted(), "ktada")


def test_what_is_left_in_a_scope_of_logind_that_no_look_saw_is_found_by_its_note(tmp_path: Path) -> None:
    """A session that was over within one look: logind moved sshd out of the gate's group, and sshd has ended."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    uid, now = 3_000_000 + os.getpid(), int(time.time())
    scope = mounted() / "user.slice" / f"user-{uid}.slice" / "session-7.scope"
    scope.mkdir(parents=True)
    try:
        with running(["sleep", "600"]) as left:
            (scope / "cgroup.procs").write_text(str(left.pid))
            tickets = tmp_path / "ts"
            tickets.mkdir()
            host = LinuxHost(helper=1, groups=tmp_path.name, logind=tmp_path, tickets=tickets)
            session = HostSession(
                version=1,
                boot=Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
                pid=gone.pid,
                started=1,
                how="grant",
                digest="0" * 64,
                account="ktada",
                key="ed25519:AAAA",
                approvals=(),
                asked_at=now,
                ends_at=now + 60,
                cgroups=(),
            )
            note = "# This is private data. Do not parse.\nUID={}\nSTATE=closing\nSCOPE=session-7.scope\nLEADER={}\nREALTIME={}\n"
            (tmp_path / "7").write_text(note.format(uid, gone.pid, (now - 3600) * 1_000_000))
            for name in ("ktada", str(pwd.getpwnam("ktada").pw_uid), "ktdeploy"):
                (tickets / name).touch()
            assert not host.look(session).alive  # the process with this id of an hour ago
            assert [one.name for one in tickets.iterdir()] == ["ktdeploy"], "no session leaves its sudo to the next"
            (tmp_path / "8").write_bytes(b"\xff\xfe")
            (tmp_path / "9").write_text(note.format(uid, gone.pid, now * 1_000_000 + 5))
            state = host.look(session)
            assert (state.alive, len(state.cgroups)) == (True, 1)
            host.end(msgspec.structs.replace(session, cgroups=state.cgroups))
            left.wait(deadline_s=WITHIN_S)
            wait_for("the scope to be empty", lambda: is_empty(scope) or None)
            assert not host.look(session).alive
    finally:
        scope.rmdir()
        scope.parent.rmdir()
