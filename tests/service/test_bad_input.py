"""Typed as people type it: what has no place in an artifact is refused by each command, by name, and nothing is changed by it.

Each kind at each door is in adapters/test_bad_artifacts.py; here are real commands, a real device in a directory, and a builder.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.test_bad_artifacts import BAD, sparse
from keyturn.service.builder_service import BuilderService
from sdk.test_step import people
from support.builders import Place
from support.labs import make_lab
from support.members import People

__all__ = ["people"]


def test_each_command_refuses_by_name_and_changes_nothing(people: People) -> None:
    place = people.place
    for name in ("device", "sparse"):
        (place / name).mkdir()
        (place / name / "good").write_text("good")
    sparse(place / "sparse" / "weights")
    (place / "device" / "weights").touch()
    # A device inside of a directory, also for whoever may make none.
    there = ("bwrap", "--dev-bind", "/", "/", "--dev-bind", "/dev/zero", str(place / "device" / "weights"))
    within = replace(people, command=(*there, *people.command))
    logged = people.by("ada", "log", "show")["size"]
    good = (place / "train.toml").read_text()
    for name, code in (("device", "file-special"), ("sparse", "file-sparse")):
        (place / "train.toml").write_text(
            good.replace("from-step:ingest/data", f"dirHash:{'0' * 64}").replace("ingest/data", name)
        )
        before = sorted(place.rglob("*"))
        for words in (
            ("step", "digest", name),
            ("step", "open", "train.toml", "--out", "made", "--yes"),
            ("run", "train.toml", "--no-sandbox", "--out", "made", "--yes"),
            ("release", "check", name, "--pack", "train.toml", "--root", "train.toml"),
        ):
            assert within.refused("ada", *words) == code, words
        assert sorted(place.rglob("*")) == before
    assert people.by("ada", "log", "show")["size"] == logged


@pytest.mark.parametrize("kind", ["100 GB that nobody wrote", "a pipe", "a socket", "names that fold by case"])
def test_a_builder_refuses_them_before_anything_is_logged(tmp_path: Path, kind: str) -> None:
    place = Place(tmp_path, make_lab(humans=("ada", "bob")))
    order = place.order(place.step_file())
    spoil, code = BAD[kind]
    spoil(place.work / "data")
    before = sorted(os.listdir(place.work / "data"))
    service = BuilderService(place.parts())
    service.start()
    state = service.state(service.order(order).job, wait_s=60)
    service.stop()
    assert state.error is not None
    assert state.error.code == code
    assert place.log._leaves == []
    assert os.listdir(place.work) == ["data"]
    assert sorted(os.listdir(place.work / "data")) == before
