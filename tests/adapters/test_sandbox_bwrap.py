"""Adversarial steps in the real bubblewrap: each test is run from inside, and must find nothing."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
from collections.abc import Callable
from io import FileIO
from pathlib import Path

import pytest

from keyturn.adapters.sandbox_bwrap import (
    OUTPUT_BYTES_MAX,
    PROCESSES_MAX,
    BubblewrapSandbox,
    _first_process,
    _limit_processes,
)
from keyturn.errors import Refused, Unavailable
from keyturn.ports import SandboxJob, SandboxRun, StepMount
from support.processes import wait_for

Run = Callable[..., SandboxRun]


def never() -> bool:
    return False


@pytest.fixture
def out(tmp_path: Path) -> Path:
    place = tmp_path / "out"
    place.mkdir()
    return place


@pytest.fixture
def run(out: Path) -> Run:
    def run_script(
        script: str, *, timeout_s: int = 20, mounts: tuple[StepMount, ...] = (), **more: object
    ) -> SandboxRun:
        values: dict[str, object] = {
            "command": ("sh", "-c", script),
            "mounts": mounts,
            "runtime": ("/usr",),
            "outputs": str(out),
            "network": (),
            "devices": (),
            "timeout_s": timeout_s,
            "environment": {},
        }
        return BubblewrapSandbox().run(SandboxJob(**(values | more)), stopped=never)  # type: ignore[arg-type]

    return run_script


def processes_with(marker: str) -> list[str]:
    found = []
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                if marker.encode() in (place / "cmdline").read_bytes():
                    found.append(place.name)
            except OSError:
                continue
    return found


def test_a_sandbox_can_be_had_here() -> None:
    BubblewrapSandbox().probe()


def test_a_step_reads_its_inputs_and_writes_its_outputs(run: Run, out: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "a").write_text("hello")
    ran = run("cat /in/data/a > /out/b && echo fine", mounts=(StepMount(str(data), "/in/data"),))
    assert (ran.status, ran.timed_out, ran.output) == (0, False, b"fine\n")
    assert (out / "b").read_text() == "hello"


@pytest.mark.parametrize("reach", ["cat {key}", "cat {out}/../../lab/builder/key", "cat /out/../lab/builder/key"])
def test_the_builders_key_is_not_there(run: Run, tmp_path: Path, reach: str) -> None:
    key = tmp_path / "lab" / "builder" / "key"
    key.parent.mkdir(parents=True)
    key.write_text("SECRET-OF-THE-BUILDER")
    ran = run(
        reach.format(key=key, out=tmp_path / "out") + f"; ls {tmp_path}; find / -xdev -name key -path '*builder*'"
    )
    assert b"SECRET" not in ran.output
    assert ran.output.count(b"No such file") == 2
    assert b"builder/key\n" not in ran.output.replace(reach.format(key=key, out=tmp_path / "out").encode(), b"")


def test_a_link_in_the_outputs_does_not_lead_outside(run: Run, out: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("SECRET")
    (out / "door").symlink_to(tmp_path / "secret")
    assert b"SECRET" not in run("cat /out/door").output


def test_no_other_process_and_no_environment_of_the_builder_is_there(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYTURN_TEST_SECRET", "LEAKED")
    ran = run("env; for p in /proc/[0-9]*; do echo $p; tr '\\0' '\\n' < $p/environ; tr '\\0' ' ' < $p/cmdline; done")
    assert b"LEAKED" not in ran.output
    assert str(os.getcwd()).encode() not in ran.output
    pids = {int(line[6:]) for line in ran.output.splitlines() if line.startswith(b"/proc/")}
    assert pids <= set(range(1, 20))
    assert os.getpid() not in pids or os.getpid() < 20


def test_the_environment_is_only_what_is_listed(run: Run) -> None:
    ran = run("env", environment={"KEYTURN_STEP": "train"})
    names = {line.split(b"=")[0].decode() for line in ran.output.splitlines()}
    assert names - {"PWD", "SHLVL", "_", "OLDPWD"} == {
        "PATH",
        "HOME",
        "TMPDIR",
        "LANG",
        "PYTHONPYCACHEPREFIX",
        "KEYTURN_IN",
        "KEYTURN_OUT",
        "KEYTURN_STEP",
    }


def test_no_descriptor_of_the_builder_is_inherited(run: Run) -> None:
    ran = run("for fd in /proc/self/fd/* /proc/$$/fd/*; do readlink $fd; done; ls /proc/$$/fd")
    assert b"memfd" not in ran.output
    assert set(ran.output.splitlines()[-3:]) == {b"0", b"1", b"2"}


def test_the_network_is_not_there(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            pass  # from here it is reachable
        script = (
            f"import socket\nfor a in (('127.0.0.1',{port}),('1.1.1.1',53)):\n"
            "  try: socket.create_connection(a, 2); print('REACHED')\n  except OSError as e: print('no')"
        )
        ran = run("", command=(sys.executable, "-c", script), runtime=("/usr", sys.base_prefix, sys.prefix))
    assert ran.output == b"no\nno\n"


def test_an_abstract_unix_socket_of_the_host_is_not_there(run: Run) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("\0keyturn-test-abstract")
        server.listen()
        script = (
            "import socket\ns = socket.socket(socket.AF_UNIX)\n"
            "try: s.connect('\\0keyturn-test-abstract'); print('REACHED')\nexcept OSError: print('no')"
        )
        ran = run("", command=(sys.executable, "-c", script), runtime=("/usr", sys.base_prefix, sys.prefix))
    assert ran.output == b"no\n"


@pytest.mark.parametrize(
    "target",
    [
        "/x",
        "/usr/x",
        "/in/x",
        "/in/data/x",
        "/proc/sys/kernel/hostname",
        "/proc/self/oom_score_adj",
        "/etc/x",
        "/out/../x",
    ],
)
def test_nothing_outside_out_and_tmp_can_be_written(run: Run, tmp_path: Path, target: str) -> None:
    data = tmp_path / "data"
    data.mkdir()
    ran = run(f"echo bad > {target} && echo WROTE", mounts=(StepMount(str(data), "/in/data"),))
    assert b"WROTE" not in ran.output
    assert list(data.iterdir()) == []


def test_the_hosts_settings_under_proc_are_read_only_even_for_a_builder_that_is_root(run: Run) -> None:
    # bubblewrap 0.8 leaves /proc/sys writable to root of the host: core_pattern would run a program as root out there.
    before = Path("/proc/sys/kernel/core_pattern").read_bytes()
    ran = run("cat /proc/sys/kernel/core_pattern > /proc/sys/kernel/core_pattern && echo WROTE")
    assert b"WROTE" not in ran.output
    assert b"Read-only" in ran.output
    assert Path("/proc/sys/kernel/core_pattern").read_bytes() == before


@pytest.mark.parametrize("act", ["unshare -U true", "unshare -n true", "mount -t tmpfs x /tmp", "chroot /usr true"])
def test_a_step_gains_no_capability(run: Run, act: str) -> None:
    assert run(act).status != 0


def test_a_step_has_no_capability_and_cannot_gain_any(run: Run) -> None:
    status = run("grep -E 'Cap|NoNewPrivs' /proc/self/status").output
    assert {line.split()[1] for line in status.splitlines() if line.startswith(b"Cap")} == {b"0000000000000000"}
    assert b"NoNewPrivs:\t1" in status


def test_a_step_has_its_limit_of_processes_and_dumps_no_core(run: Run) -> None:
    limits = run("cat /proc/self/limits").output.decode().splitlines()
    for name, limit in (("Max processes", PROCESSES_MAX), ("Max core file size", 0)):
        (line,) = [line for line in limits if line.startswith(name)]
        assert line.split()[-3:-1] == [str(limit)] * 2, line


@pytest.mark.parametrize("error", [ProcessLookupError(3, "No such process"), PermissionError(1, "not permitted")])
@pytest.mark.parametrize("limit", [resource.RLIMIT_CORE, resource.RLIMIT_NPROC])
def test_a_first_process_that_cannot_be_limited_leaves_no_descriptor(
    monkeypatch: pytest.MonkeyPatch, error: OSError, limit: int
) -> None:
    def prlimit(pid: int, which: int, limits: tuple[int, int] = (9, 9)) -> tuple[int, int]:
        if which == limit:
            raise error
        return limits

    def try_it() -> tuple[int, int] | None:
        read, write = os.pipe()
        os.write(write, b'{"child-pid": %d}' % os.getpid())
        os.close(write)
        with FileIO(read) as info:
            return _first_process(info)

    monkeypatch.setattr(resource, "prlimit", prlimit)
    before = os.listdir("/proc/self/fd")
    if isinstance(error, ProcessLookupError):
        assert try_it() is None
    else:
        with pytest.raises(PermissionError):
            try_it()
    assert os.listdir("/proc/self/fd") == before


def test_daemons_left_behind_are_gone_when_the_run_returns(run: Run) -> None:
    # Without waiting for process 1 of the namespace this finds survivors nearly every time: the kernel is still at it.
    for _ in range(10):
        ran = run("for i in 1 2 3 4 5 6 7 8; do setsid sleep 314159 >/dev/null 2>&1 & done; echo left")
        assert ran.output == b"left\n"
        assert processes_with("314159") == []


def test_a_tree_of_processes_that_ignores_signals_ends_at_the_timeout(run: Run) -> None:
    # A fork bomb, but for its last generation: the machine is shared.
    script = (
        "trap '' TERM INT HUP; "
        "for i in 1 2 3 4 5 6 7 8; do (trap '' TERM; for j in 1 2 3 4 5 6; do setsid sleep 271828 & done; wait) & done; wait"
    )
    ran = run(script, timeout_s=1)
    assert ran.timed_out
    assert ran.status != 0
    assert processes_with("271828") == []


def test_it_is_stopped_when_asked(out: Path) -> None:
    job = SandboxJob(("sleep", "161803"), (), ("/usr",), str(out), (), (), 60, {})
    ran = BubblewrapSandbox().run(job, stopped=lambda: True)
    assert ran.timed_out
    assert processes_with("161803") == []


def test_a_step_that_closes_its_output_runs_to_its_end(run: Run, out: Path) -> None:
    assert run("exec >&- 2>&-; sleep 0.3; touch /out/late; exit 7").status == 7
    assert (out / "late").exists()


def test_what_a_step_prints_is_bounded(run: Run) -> None:
    ran = run("yes 0123456789 | head -c 5000000; echo the-end")
    assert len(ran.output) < OUTPUT_BYTES_MAX + 100
    assert b"bytes dropped]" in ran.output
    assert ran.output.endswith(b"the-end\n")


def test_a_terminal_cannot_be_typed_into(run: Run) -> None:
    assert b"no" in run("test -t 0 || echo no; cat < /dev/tty").output


def test_a_command_that_is_not_there_fails(run: Run) -> None:
    assert run("", command=("no-such-command",)).status != 0


def test_a_declared_network_is_refused_not_widened(run: Run) -> None:
    with pytest.raises(Refused) as caught:
        run("true", network=("example.org:443",))
    assert caught.value.code == "sandbox-network"


@pytest.mark.parametrize("path", ["/", "/proc", "/sys/fs", "/dev/shm", "/in", "/out/x", "/tmp"])
def test_a_runtime_over_what_the_sandbox_owns_is_refused(run: Run, path: str) -> None:
    with pytest.raises(Refused) as caught:
        run("true", runtime=(path,))
    assert caught.value.code == "sandbox-runtime"


def test_a_disk_is_no_device_for_a_step(run: Run, tmp_path: Path) -> None:
    (tmp_path / "disk").write_text("")
    with pytest.raises(Refused):
        run("true", devices=(str(tmp_path / "disk"),))
    with pytest.raises(Unavailable):
        run("true", devices=("/dev/no-such-device",))


def test_a_mount_that_is_not_there_runs_nothing(run: Run, out: Path) -> None:
    ran = run("touch /out/ran", mounts=(StepMount("/no/such/path", "/in/data"),))
    assert ran.status != 0
    assert not (out / "ran").exists()


def test_a_builder_that_may_have_few_processes_gives_a_step_no_more() -> None:
    """A user who is not root cannot raise his hard limit: asking for more would fail each step."""
    few = "import os, resource; resource.setrlimit(resource.RLIMIT_NPROC, (40, 50)); os.read(0, 1)"
    with subprocess.Popen([sys.executable, "-c", few], stdin=subprocess.PIPE) as it:
        wait_for("the limit", lambda: resource.prlimit(it.pid, resource.RLIMIT_NPROC) == (40, 50) or None)
        _limit_processes(it.pid)
        assert resource.prlimit(it.pid, resource.RLIMIT_NPROC) == (50, 50)
        it.communicate(b"x")
