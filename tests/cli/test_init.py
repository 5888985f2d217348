"""`keyturn init` says what it chose, keeps secrets out of git, and finishes what failed half way when it is typed again."""

from __future__ import annotations

import json
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from keyturn.adapters.files import durable_files
from keyturn.app.trust.found_lab import Founding
from keyturn.config.person import Home
from keyturn.errors import Refused, Unavailable, Usage
from keyturn.trust.draft import Draft
from keyturn.wiring.lab.new_lab import make_lab
from keyturn.wiring.trust.trust import lab_keys, person_keys, trust_store
from support import commands

FOUNDING = Founding(
    lab="acme.example",
    profile="demo",
    founder="ada",
    founder_name="Ada",
    groups=("research",),
    witnesses=("north",),
    gates=("release",),
    builder=True,
)


def keyturn(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return commands.keyturn(*words, place=place, home=place / "home")


def test_a_demo_lab_says_which_names_it_chose(tmp_path: Path) -> None:
    done = keyturn(tmp_path, "init", "--profile", "demo")
    assert done.returncode == 0, done.stderr
    assert "--name and --member were chosen for you: the lab is demo.example, you are ada" in done.stderr
    assert "demo.example" in keyturn(tmp_path, "init", "--help").stdout


def test_names_that_were_typed_are_not_said_again(tmp_path: Path) -> None:
    words = ("--profile", "demo", "--name", "acme.example", "--member", "ada", "--json")
    done = keyturn(tmp_path, "init", *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["lab"] == "acme.example"


def test_git_never_sees_a_secret_of_the_lab(tmp_path: Path) -> None:
    lab = tmp_path / "lab"
    make_lab(lab, Home(lab / "home"), FOUNDING, store=None)
    for name in ("index.sqlite", "run/service.json", "gates/release/state.sqlite", "gates/release/state/1", "log/pack"):
        (lab / name).parent.mkdir(parents=True, exist_ok=True)
        (lab / name).touch()
    subprocess.run(["git", "init", "-q", lab], check=True)
    seen = subprocess.run(
        ["git", "-C", lab, "ls-files", "--others", "--exclude-standard"], check=True, capture_output=True, text=True
    ).stdout.split()
    assert [name for name in seen if b"PRIVATE KEY" in (lab / name).read_bytes()] == []
    assert {name.partition("/")[0] for name in seen} == {".gitignore", "keyturn.toml", "trust", "home"}
    assert sum(b"PRIVATE KEY" in path.read_bytes() for path in lab.rglob("*") if path.is_file()) == 7


WRITES = 22
"""More than the files that a demo lab begins with."""


@pytest.mark.parametrize("nth", range(WRITES))
def test_whatever_write_fails_the_same_command_then_finishes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    lab, home = tmp_path / "lab", Home(tmp_path / "home")
    with monkeypatch.context() as patch:
        counter = [0]
        for name in ("create", "replace"):
            patch.setattr(durable_files, name, failing_at(nth, getattr(durable_files, name), counter))
        try:
            make_lab(lab, home, FOUNDING, store=None)
        except Unavailable:
            assert not (lab / "keyturn.toml").exists() or (lab / ".founding").exists()
            make_lab(lab, home, FOUNDING, store=None)
    assert not (lab / ".founding").exists()
    draft = Draft.parse(trust_store(lab).draft())
    assert draft.root.holders[0].key == person_keys(home).read("trust").public
    assert draft.contents.log.key == lab_keys(lab).read("log").public
    assert draft.root.online == lab_keys(lab).read("online").public
    assert stat.S_IMODE(home.config.stat().st_mode) == 0o600
    with pytest.raises(Usage, match="file-exists"):
        make_lab(lab, home, FOUNDING, store=None)


def failing_at(nth: int, write: Callable[..., None], counter: list[int]) -> Callable[..., None]:
    def attempt(*arguments: object, **named: object) -> None:
        counter[0] += 1
        if counter[0] - 1 == nth:
            raise OSError(28, "No space left on device")
        write(*arguments, **named)

    return attempt


def test_somebody_elses_home_is_not_taken_to_finish_a_lab(tmp_path: Path) -> None:
    lab = tmp_path / "lab"
    (lab).mkdir()
    (lab / ".founding").touch()
    home = Home(tmp_path / "bob")
    home.path.mkdir()
    home.config.write_text('version = 1\nmember = "bob"\n')
    with pytest.raises(Usage, match="file-exists"):
        make_lab(lab, home, FOUNDING, store=None)
    assert "bob" in home.config.read_text()


def test_a_lab_that_is_refused_leaves_nothing_unfinished(tmp_path: Path) -> None:
    lab = tmp_path / "lab"
    make_lab(lab, Home(tmp_path / "ada"), FOUNDING, store=None)
    (lab / "keyturn.toml").unlink()
    with pytest.raises(Refused, match="lab-exists"):
        make_lab(lab, Home(tmp_path / "eve"), FOUNDING, store=None)
    assert not (lab / ".founding").exists()
