"""Type commands in this process, at a lab on the disk, and see how each ends."""

from __future__ import annotations

import io
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from keyturn.cli import main as border
from keyturn.cli.options import Invocation
from support.members import People
from tools import cli_reference

__all__ = ["COMMANDS", "furnish", "publish", "typed"]

COMMANDS = dict(cli_reference.commands())
GARBAGE = b"\x00garbage\xff{"


@contextmanager
def at(place: Path, home: str) -> Iterator[None]:
    """Work in `place` as the member with this home, with no lab named."""
    before, there = dict(os.environ), Path.cwd()
    os.environ.pop("KEYTURN_LAB", None)
    os.environ["KEYTURN_HOME"] = str(place / home)
    os.chdir(place)
    try:
        yield
    finally:
        os.chdir(there)
        os.environ.clear()
        os.environ.update(before)


def typed(place: Path, *words: str, home: str = "ada") -> tuple[int, str]:
    """Type a command; gives its exit status and the code of its error."""
    said = io.TextIOWrapper(io.BytesIO(), write_through=True)
    with at(place, home), redirect_stdout(io.TextIOWrapper(io.BytesIO())), redirect_stderr(said):
        invocation = Invocation(json=True)
        arguments = [*words, "--json"] if takes_json(words) else list(words)
        with pytest.raises(SystemExit) as ended:
            border.ending(
                lambda: border.build((words[0],))(
                    arguments, obj=invocation, prog_name="keyturn", standalone_mode=False
                ),
                invocation,
            )
    said.seek(0)
    last = (said.read().splitlines() or ["{}"])[-1]
    return int(str(ended.value.code or 0)), str(json.loads(last).get("error", {}).get("code", ""))


def takes_json(words: tuple[str, ...]) -> bool:
    name = next(name for name in (" ".join(words[:3]), " ".join(words[:2]), words[0]) if f"keyturn {name}" in COMMANDS)
    return any("--json" in parameter.opts for parameter in COMMANDS[f"keyturn {name}"].params)


def furnish(place: Path) -> None:
    """What commands find in the working directory, besides the lab."""
    (place / "garbage").write_bytes(GARBAGE)
    (place / "garbage.d").mkdir()
    (place / "garbage.d" / "main.cedar").write_bytes(b"garbage")
    (place / "data").mkdir()
    (place / "data" / "file").write_text("text")
    subprocess.run(["git", "init", "-q", "--bare", place / "repository.git"], check=True)
    for name, build in (("step", "train"), ("evaluate", "evaluate")):
        (place / f"{name}.toml").write_text(
            f'version = 1\nname = "{name}"\nbuild_type = "{build}"\ncommand = ["true"]\n'
            '[[inputs]]\nname = "data"\nsource = "data"\nmount = "/in/data"\ncheck = "full"\n'
            'digest = "dirHash:0000000000000000000000000000000000000000000000000000000000000000"\n'
            '[[outputs]]\nname = "model"\npath = "/out/model"\n'
            '[sandbox]\nruntime = ["/usr"]\nnetwork = "none"\ndevices = []\ntimeout_s = 60\n'
        )


def publish(place: Path) -> People:
    """Published, and renewed versions await signatures."""
    people = People(place)
    people.found()
    people.by("bob", "trust", "accept", "bob.invitation.json")
    people.publish()
    people.by("ada", "trust", "propose", "--renew")
    furnish(place)
    return people
