"""What runs in the place of this process gets its signals, whenever they come, and gives it its status."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from keyturn.adapters.hosts.foreground import run_in_foreground

_EARLY = """
import os, signal, sys
from keyturn.adapters.hosts.foreground import run_in_foreground
sys.addaudithook(lambda event, _: os.kill(os.getpid(), signal.SIGTERM) if event == "subprocess.Popen" else None)
sys.exit(run_in_foreground(["sleep", "60"]))
"""


@pytest.mark.parametrize(
    ("script", "status"),
    [
        pytest.param("exit 7", 7, id="an exit status"),
        pytest.param("kill -9 $$", 128 + 9, id="ended by a signal"),
        pytest.param("kill -TERM $PPID; exec sleep 60", 128 + 15, id="this process is ended"),
        pytest.param("kill -HUP $PPID; exec sleep 60", 128 + 1, id="this process is hung up"),
        pytest.param("kill -INT $PPID; kill -QUIT $PPID; exit 3", 3, id="keys at the terminal are the program's"),
        pytest.param("kill -INT $$; exit 3", 128 + 2, id="which does not ignore them"),
    ],
)
def test_the_status_is_the_programs_and_signals_reach_it(script: str, status: int) -> None:
    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP)]
    assert run_in_foreground(["sh", "-c", script]) == status
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP)] == before


def test_a_signal_that_comes_before_the_program_is_there_ends_it_all_the_same() -> None:
    assert subprocess.run([sys.executable, "-c", _EARLY], check=False, timeout=30).returncode == 128 + 15


def test_a_program_that_is_not_there_is_an_error_and_signals_are_what_they_were() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(FileNotFoundError):
        run_in_foreground(["no-such-program"])
    assert signal.getsignal(signal.SIGTERM) == before
