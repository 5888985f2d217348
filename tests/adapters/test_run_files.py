"""Where a lab's processes are found, and that two of one name do not take each other's place."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from keyturn.adapters.files import run_files
from keyturn.errors import Conflict

HERE, THERE = "http://127.0.0.1:1", "http://127.0.0.1:2"


def _published_by_another(run_dir: Path, *, alone: bool) -> subprocess.Popen[str]:
    said = (
        "import sys; from pathlib import Path; from keyturn.adapters.files import run_files\n"
        f"with run_files.published(Path(sys.argv[1]), 'gate-x', {THERE!r}, alone={alone}):\n"
        "    print('serving', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", said, str(run_dir)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "serving\n"
    return process


def test_a_second_gate_over_the_same_state_is_refused_and_the_first_one_is_still_found(tmp_path: Path) -> None:
    with _published_by_another(tmp_path, alone=True) as first:
        with (
            pytest.raises(Conflict, match="runs already") as refused,
            run_files.published(tmp_path, "gate-x", HERE, alone=True),
        ):
            pass
        assert (refused.value.code, refused.value.exit_status) == ("already-running", 3)
        assert run_files.find(tmp_path, "gate-x") == THERE
        first.kill()
        first.wait()
    assert run_files.find(tmp_path, "gate-x") is None, "what a crash left is nobody"
    with run_files.published(tmp_path, "gate-x", HERE, alone=True):
        assert run_files.find(tmp_path, "gate-x") == HERE
    assert run_files.find(tmp_path, "gate-x") is None


def test_after_a_second_service_stopped_the_first_one_is_found_again(tmp_path: Path) -> None:
    with _published_by_another(tmp_path, alone=False) as first:
        with run_files.published(tmp_path, "gate-x", HERE, alone=False):
            assert run_files.find(tmp_path, "gate-x") == HERE
        assert run_files.find(tmp_path, "gate-x") == THERE
        first.kill()
        first.wait()
        with run_files.published(tmp_path, "gate-x", HERE, alone=False):
            assert json.loads((tmp_path / "gate-x.json").read_text())["url"] == HERE
    assert run_files.find(tmp_path, "gate-x") is None
