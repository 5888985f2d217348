"""A traced step: every file that it opens is listed by what it declared, and it can neither hide one nor write the list."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from keyturn.adapters import tracer_strace
from keyturn.adapters.no_sandbox import NoSandbox
from keyturn.adapters.sandbox_bwrap import BubblewrapSandbox
from keyturn.adapters.tracer_strace import StraceTracer
from keyturn.app.custody import opened_files
from keyturn.app.custody.opened_files import OpenedFiles
from keyturn.errors import Unavailable
from keyturn.ports import SandboxJob, SandboxRun, StepMount

HOSTILE = 'we<ird>\n = 3<x>, "O_PATH", O_PATH) = 3<é\\'
MOUNTS = {"data": "/in/data", "spare": "/in/spare"}


@pytest.fixture
def job(tmp_path: Path) -> SandboxJob:
    for name in ("data", "spare", "out"):
        (tmp_path / name).mkdir()
    (tmp_path / "data" / "a.txt").write_text("hello\n")
    (tmp_path / "data" / "b.txt").write_text("never read\n")
    (tmp_path / "data" / "link").symlink_to("a.txt")
    (tmp_path / "data" / HOSTILE).write_text("x")
    return SandboxJob(
        command=("true",),
        mounts=tuple(StepMount(str(tmp_path / name), mount) for name, mount in MOUNTS.items()),
        runtime=("/usr",),
        outputs=str(tmp_path / "out"),
        network=(),
        devices=(),
        timeout_s=60,
        environment={},
        traced=True,
    )


def traced(sandbox: BubblewrapSandbox | NoSandbox, job: SandboxJob, script: str) -> tuple[SandboxRun, OpenedFiles]:
    from dataclasses import replace

    ran = sandbox.run(replace(job, command=("sh", "-c", script)), stopped=lambda: False)
    assert ran.trace is not None
    found = opened_files.judge(ran.trace.opened, inputs=MOUNTS, runtime=job.runtime, left_off=ran.trace.left_off)
    return ran, found


def of(found: OpenedFiles, kind: str) -> set[str]:
    return {one.path for one in found.opened if one.of == kind}


def test_what_a_confined_step_opens_is_listed_and_what_it_never_opens_is_named(job: SandboxJob) -> None:
    script = (
        "cd /in/data; cat link > /out/model; cat we* > /tmp/x; (cat < a.txt > /dev/null &); ls /in/spare; "
        "cat /etc/passwd /in/data/none; echo 'x = 3</in/spare/forged>'; exit 7"
    )
    ran, found = traced(BubblewrapSandbox(), job, script)
    assert (ran.status, ran.timed_out) == (7, False)
    assert b"forged" in ran.output
    assert of(found, "input:data") == {"/in/data/a.txt", f"/in/data/{HOSTILE}"}  # the link is what it leads to
    assert of(found, "output") == {"/out/model"}
    assert of(found, "own") >= {"/tmp/x", "/dev/null"}
    assert "/usr/bin/cat" in of(found, "runtime:/usr")
    assert any(path.endswith("/libc.so.6") for path in of(found, "runtime:/usr"))
    assert (found.undeclared, found.left_off) == ((), 0)
    assert found.unread == ("spare",)  # listed, and nothing of it opened
    assert not any("newroot" in one.path or "forged" in one.path for one in found.opened)  # bubblewrap's own
    text = opened_files.render(found)
    assert b'"unread":["spare"]' in text


def test_a_step_finds_no_way_to_the_list_and_io_uring_is_not_there(job: SandboxJob) -> None:
    script = (
        "ls -l /proc/self/fd /proc/1/fd | grep -c trace; ls / /tmp | grep trace; /usr/bin/python3 -c "
        "'import ctypes; l = ctypes.CDLL(None, use_errno=True); print(l.syscall(425, 8, 0), ctypes.get_errno())'"
    )
    ran, _ = traced(BubblewrapSandbox(), job, script)
    assert ran.output.splitlines() == [b"0", b"-1 38"]


HIDING = """
import ctypes, fcntl, os, shutil, struct, sys, threading
libc = ctypes.CDLL(None, use_errno=True)

def notified():
    # A filter of the step's own: `openat` notifies a thread of it, which answers that the call may go on.
    code = struct.pack("HBBIHBBIHBBIHBBI", 0x20, 0, 0, 0, 0x15, 0, 1, 257, 6, 0, 0, 0x7FC00000, 6, 0, 0, 0x7FFF0000)
    held = ctypes.create_string_buffer(code)
    listener, known = [], threading.Event()
    def answer():
        known.wait()
        while True:
            asked = bytearray(80)
            fcntl.ioctl(listener[0], 0xC0502100, asked)
            fcntl.ioctl(listener[0], 0xC0182101, bytearray(struct.pack("QqiI", *struct.unpack_from("Q", asked), 0, 0, 1)))
    threading.Thread(target=answer, daemon=True).start()
    program = struct.pack("HxxxxxxQ", 4, ctypes.addressof(held))
    libc.prctl(38, 1, 0, 0, 0)
    given = libc.syscall(317, 1, 8, program)
    if given >= 0:
        listener.append(given)
        known.set()
    print(open("/in/data/a.txt").read(), end="", flush=True)
    os._exit(0)

def run_looked_at(at):
    words, nothing = (ctypes.c_char_p * 2)(b"prog", None), (ctypes.c_char_p * 1)(None)
    libc.syscall(322, *at, words, nothing, 0x1000)

match sys.argv[1]:
    case "notified":
        notified()
    case "looked at":
        run_looked_at((os.open("/in/data/prog", os.O_PATH), b""))
    case "by a directory":
        run_looked_at((os.open("/in/data", os.O_DIRECTORY), b"prog"))
    case "by its number":
        found = os.open("/in/data/prog", os.O_PATH)
        os.execv(f"/proc/self/fd/{found}", ["prog"])
    case "by a thread":
        one = threading.Thread(target=lambda: os.execv("/in/data/prog", ["prog"]))
        one.start()
        one.join()
"""


@pytest.mark.parametrize(
    ("how", "opened"),
    [
        ("notified", "/in/data/a.txt"),
        ("looked at", "/in/data/prog"),
        ("by a directory", "/in/data/prog"),
        ("by its number", "/in/data/prog"),
        ("by a thread", "/in/data/prog"),
    ],
)
def test_a_step_hides_neither_what_it_opens_nor_what_it_runs(
    job: SandboxJob, tmp_path: Path, how: str, opened: str
) -> None:
    (tmp_path / "spare" / "hiding.py").write_text(HIDING)
    shutil.copy("/usr/bin/true", tmp_path / "data" / "prog")
    ran, found = traced(BubblewrapSandbox(), job, f"/usr/bin/python3 /in/spare/hiding.py '{how}'")
    assert (ran.status, ran.output) == (0, b"hello\n" if how == "notified" else b"")
    assert of(found, "input:data") == {opened}
    assert found.undeclared == ()


def test_without_a_sandbox_what_was_not_declared_is_flagged(job: SandboxJob, tmp_path: Path) -> None:
    secret = tmp_path / "undeclared.txt"
    secret.write_text("x")
    ran, found = traced(NoSandbox(), job, f"cat $KEYTURN_IN/data/a.txt {secret} /etc/hostname > $KEYTURN_OUT/model")
    assert ran.status == 0, ran.output
    assert of(found, "input:data") == {"/in/data/a.txt"}
    assert of(found, "output") == {"/out/model"}
    assert {"/etc/hostname"} | {path for path in found.undeclared if path.endswith("undeclared.txt")} <= set(
        found.undeclared
    )
    assert any(path.endswith("/undeclared.txt") for path in found.undeclared)
    assert found.unread == ("spare",)


def test_a_traced_step_ends_at_its_timeout_with_all_it_started(job: SandboxJob) -> None:
    from dataclasses import replace

    ran, found = traced(
        BubblewrapSandbox(), replace(job, timeout_s=2), "cat /in/data/a.txt; (setsid sleep 600 &) ; sleep 600"
    )
    assert ran.timed_out
    assert of(found, "input:data") == {"/in/data/a.txt"}


def test_more_paths_than_can_be_listed_are_counted_and_nothing_is_called_unread(
    job: SandboxJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracer_strace, "PATHS_MAX", 5)
    ran, found = traced(BubblewrapSandbox(), job, "for n in 1 2 3 4 5 6 7 8 9; do : > /out/$n; done")
    assert ran.status == 0
    assert len(found.opened) == 5
    assert found.left_off >= 4
    assert found.unread == ()


def test_a_builder_without_strace_says_so_before_anything_runs(
    job: SandboxJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracer_strace, "_SEARCH", "/nowhere")
    with pytest.raises(Unavailable) as caught:
        StraceTracer(ignored=1)
    assert caught.value.code == "tracer-missing"
