"""The command line starts at once: in 150 ms, counted in processor time, so that a busy machine does not matter."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from inspect import getdoc

import pytest
import typer

from keyturn.cli import main
from keyturn.cli.summaries import SUMMARIES

GOAL_S = 0.150
HEAVY = (
    "tuf",
    "cedarpy",
    "litestar",
    "uvicorn",
    "numpy",
    "securesystemslib",
    "cryptography",
    "urllib3",
    "sqlite3",
    "asyncio",
    "psycopg",
    "apprise",
)


def _cpu_seconds(*arguments: str) -> float:
    """Processor time of one run, which is what it takes on an idle machine; on a busy one the clock says nothing."""
    child = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0
    return used.ru_utime + used.ru_stime


# Shows the help with the commands that are there by now.
SHOW = """
import sys
from importlib.util import find_spec
from keyturn.cli import main
main.COMMANDS = {name: at for name, at in main.COMMANDS.items() if find_spec(at.split(":")[0])}
sys.argv = ["keyturn", "--help"]
"""


@pytest.mark.alone
def test_help_is_there_in_150_ms() -> None:
    taken = [_cpu_seconds(sys.executable, "-c", SHOW + "main.main()") for _ in range(9)]
    assert min(taken) <= GOAL_S


def test_help_imports_nothing_heavy() -> None:
    code = (
        f"{SHOW}\ntry: main.main()\nexcept SystemExit: pass\nprint('|'.join(m for m in {HEAVY!r} if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == ""


def test_a_summary_is_the_first_thing_that_the_command_says_of_itself() -> None:
    said = {}
    for name, at in main.COMMANDS.items():
        module, _, attribute = at.partition(":")
        command = getattr(import_module(module), attribute)
        text = command.info.help if isinstance(command, typer.Typer) else getdoc(command)
        said[name] = " ".join(str(text).split()).partition(". ")[0].rstrip(".") + "."
    assert dict(SUMMARIES) == said
