"""`--no-sandbox`: a plain process, which is killed at its timeout, and is never said to be confined."""

from __future__ import annotations

from pathlib import Path

import pytest

from keyturn.adapters.no_sandbox import NoSandbox
from keyturn.errors import Unavailable
from keyturn.ports import SandboxJob, SandboxRun, StepMount


def run(tmp_path: Path, *command: str, timeout_s: int = 20) -> SandboxRun:
    data = tmp_path / "data"
    data.mkdir()
    (data / "a").write_text("hello")
    (tmp_path / "out").mkdir()
    job = SandboxJob(
        command, (StepMount(str(data), "/in/deep/data"),), ("/usr",), str(tmp_path / "out"), (), (), timeout_s, {}
    )
    return NoSandbox().run(job, stopped=lambda: False)


def test_it_says_that_it_is_none() -> None:
    assert NoSandbox().kind == "none"


def test_arguments_below_in_and_out_become_paths_of_this_machine(tmp_path: Path) -> None:
    assert run(tmp_path, "cp", "/in/deep/data/a", "/out/b").status == 0
    assert (tmp_path / "out" / "b").read_text() == "hello"


def test_the_environment_says_where_they_are_and_carries_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYTURN_TEST_SECRET", "LEAKED")
    ran = run(tmp_path, "sh", "-c", "cp $KEYTURN_IN/deep/data/a $KEYTURN_OUT/b; env")
    assert (tmp_path / "out" / "b").read_text() == "hello"
    assert b"LEAKED" not in ran.output


def test_it_ends_at_its_timeout_with_its_children(tmp_path: Path) -> None:
    ran = run(tmp_path, "sh", "-c", "sleep 577215 & sleep 577215", timeout_s=1)
    assert ran.timed_out
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                assert b"577215" not in (place / "cmdline").read_bytes()
            except OSError:
                continue


def test_a_command_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        run(tmp_path, "no-such-command")
