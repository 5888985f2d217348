"""The support for process tests itself: it waits without sleeping, says why it failed, and leaves nothing running."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from support.processes import running, wait_for, wait_for_file, wait_for_url

SERVER = """
import http.server as h
server = h.HTTPServer(("127.0.0.1", 0), h.SimpleHTTPRequestHandler)
print(server.server_port, flush=True)
server.serve_forever()
"""


def test_a_process_and_its_children_end_with_the_block() -> None:
    code = (
        "import subprocess, sys, threading\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import threading; threading.Event().wait()'])\n"
        "print('child', child.pid, flush=True); threading.Event().wait()"
    )
    with running([sys.executable, "-c", code]) as process:
        child = int(process.wait_for_line("child").split()[1])
        os.kill(child, 0)
    assert not process.alive

    def gone() -> bool | None:
        try:
            state = Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        return state == "Z" or None

    assert wait_for("the child to be gone", gone)


def test_a_process_that_ends_early_is_said_so_with_its_last_words(tmp_path: Path) -> None:
    with (
        running([sys.executable, "-c", "print('no disk left'); raise SystemExit(3)"]) as process,
        pytest.raises(AssertionError, match=r"status 3.*\n*.*no disk left"),
    ):
        wait_for_file(tmp_path / "never", process)


def test_a_line_that_never_comes_fails_at_the_deadline() -> None:
    with (
        running(
            [sys.executable, "-c", "import threading; print('up', flush=True); threading.Event().wait()"]
        ) as process,
        pytest.raises(AssertionError, match="expected a line with 'ready'"),
    ):
        process.wait_for_line("ready", deadline_s=0.3)


def test_a_file_and_an_address_are_awaited(tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(b"x")
    assert wait_for_file(tmp_path / "there") == b"x"
    with running([sys.executable, "-c", SERVER], cwd=tmp_path) as process:
        port = int(process.wait_for_line("").strip())
        assert wait_for_url(f"http://127.0.0.1:{port}/there", process) == 200
        assert wait_for_url(f"http://127.0.0.1:{port}/nowhere", process) == 404


def test_kill_is_as_abrupt_as_a_crash() -> None:
    with running(
        [sys.executable, "-c", "import threading; print('up', flush=True); threading.Event().wait()"]
    ) as process:
        process.wait_for_line("up")
        assert process.kill() == -9


def test_the_status_of_a_process_that_ends_by_itself_is_given() -> None:
    with running([sys.executable, "-c", "raise SystemExit(7)"]) as process:
        assert process.wait() == 7
