"""Somebody who may write in a work directory renames things in it while a builder works there: the builder is not misled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from keyturn.adapters.files.allowed_places import Allowed
from keyturn.adapters.files.step_files import LocalStepFiles, room_of
from keyturn.adapters.sandbox_bwrap import BubblewrapSandbox
from keyturn.bulk import manifest
from keyturn.errors import Refused
from keyturn.ports import SandboxJob, StepMount

Files = Callable[..., LocalStepFiles]
TOKENS = ("a" * 32, "b" * 32)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    for place, text in (("work/of-ada/data/part/a.txt", "hello"), ("private/data/part/a.txt", "SECRET-OF-THE-BUILDER")):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).write_text(text)
    return tmp_path / "work"


@pytest.fixture
def files(work: Path) -> Files:
    def of(**more: object) -> LocalStepFiles:
        given: dict[str, object] = {
            "base": work,
            "destination": work / "made",
            "allowed": Allowed((work,), (Path("/usr"),), (work.parent / "private",)),
            "memory": None,
            "progress": None,
        }
        return LocalStepFiles(**(given | more))  # type: ignore[arg-type]

    return of


def put(out: Path, text: str) -> None:
    (out / "model").mkdir(parents=True)
    (out / "model" / "weights").write_text(text)


def exchange(one: Path, other: Path) -> None:
    aside = one.with_name("aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def test_what_another_step_left_is_not_gone_on_with_under_this_ones_name(files: Files, work: Path) -> None:
    for token in TOKENS:
        with files(room=token) as left:
            put(Path(left.staging(None)[0]), token)
            left.leave()
    with files(room=TOKENS[0]) as again:
        assert again.staged(["/out/model"])
        again.leave()
    exchange(*(room_of(work / "made", token) for token in TOKENS))
    with pytest.raises(Refused) as caught:
        files(room=TOKENS[0]).__enter__()
    assert caught.value.code == "staging-taken"


def test_what_is_put_in_the_place_of_a_staging_directory_is_neither_digested_nor_published(
    files: Files, work: Path
) -> None:
    with files(room=TOKENS[0]) as run:
        out = Path(run.staging(None)[0])
        put(out, "honest")
        honest = manifest.contents(out / "model").identity
        out.parent.rename(work / "aside")
        put(out, "another")
        run.settle(["/out/model"])
        assert run.take_output("/out/model") == honest
        run.publish(["/out/model"], {})
    assert (work / "made" / "model" / "weights").read_text() == "honest"
    assert (out / "model" / "weights").read_text() == "another", "what is not the builder's is left alone"


@pytest.mark.parametrize("mislead", ["input", "outputs", "nothing"])
def test_a_command_begins_only_when_what_is_mounted_is_what_was_held(files: Files, work: Path, mislead: str) -> None:
    with files() as run:
        data = run.hold_input("of-ada/data", "full")
        copy = run.hold_input("of-ada/data/part/a.txt", "snapshot")
        out = Path(run.staging(None)[0])
        mounts = (StepMount(data.place, "/in/data"), StepMount(copy.place, "/in/copy"))
        command = ("sh", "-c", "cat /in/data/part/a.txt /in/copy | tee /out/seen")
        job = SandboxJob(command, mounts, ("/usr",), str(out), (), (), 20, {})
        if mislead == "input":
            (work / "of-ada").rename(work / "aside")
            (work / "of-ada").symlink_to(work.parent / "private")
        elif mislead == "outputs":
            out.parent.rename(work / "aside")
            (out.parent / "inputs" / "1").mkdir(parents=True)
            (out.parent / "inputs" / "1" / "a.txt").symlink_to(work / "aside" / "inputs" / "1" / "a.txt")
            out.symlink_to(work.parent / "private")

        def begin() -> bytes:
            return (
                BubblewrapSandbox()
                .run(job, stopped=lambda: False, mounted=lambda seen: run.check_mounted(seen, mounts))
                .output
            )

        if mislead == "nothing":
            assert begin() == b"hellohello"
            run.check_held()
            return
        with pytest.raises(Refused) as caught:
            begin()
        assert caught.value.code == "input-changed"
        assert not (work.parent / "private" / "seen").exists()
        assert not (out / "seen").exists()


def test_a_directory_that_was_renamed_away_and_back_while_the_step_ran_is_seen(files: Files, work: Path) -> None:
    with files() as run:
        run.hold_input("of-ada/data", "full")
        run.check_held()
        part = work / "of-ada" / "data" / "part"
        part.rename(part.with_name("aside"))
        part.with_name("aside").rename(part)
        with pytest.raises(Refused) as caught:
            run.check_held()
        assert caught.value.code == "input-changed"
