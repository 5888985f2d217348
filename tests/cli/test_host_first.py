"""`keyturn ssh` reads its words as ssh does: options before the host or directly behind it, the rest for the other side."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import typer
from typer.main import get_command

from keyturn.cli.access import ssh as command
from keyturn.cli.access.host_first import HostFirst

Parsed = tuple[str, list[str], str, bool, int | None]


@pytest.fixture(scope="module")
def parse() -> Callable[[list[str]], Parsed]:
    app = typer.Typer()
    app.command("ssh", cls=HostFirst, context_settings={"allow_interspersed_args": False})(command.ssh)
    made = get_command(app)

    def parsed(words: list[str]) -> Parsed:
        said = made.make_context("ssh", list(words)).params
        return said["host"], list(said["command"] or ()), said["reason"], said["as_root"], said["port"]

    return parsed


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        pytest.param("gpu1 --reason why", ("gpu1", [], "why", False, None), id="behind the host"),
        pytest.param("--reason why gpu1", ("gpu1", [], "why", False, None), id="before the host"),
        pytest.param(
            "--as-root gpu1 --reason why -p 22 id -un",
            ("gpu1", ["id", "-un"], "why", True, 22),
            id="both, and a command",
        ),
        pytest.param("gpu1 --reason=why -p22 ls", ("gpu1", ["ls"], "why", False, 22), id="values in one word"),
        pytest.param(
            "gpu1 rsync --server -p .", ("gpu1", ["rsync", "--server", "-p", "."], "", False, None), id="rsync"
        ),
        pytest.param(
            "gpu1 -- -weird --reason x", ("gpu1", ["-weird", "--reason", "x"], "", False, None), id="two dashes"
        ),
        pytest.param("gpu1", ("gpu1", [], "", False, None), id="a host alone"),
    ],
)
def test_words_are_read_as_ssh_reads_them(parse: Callable[[list[str]], Parsed], words: str, wanted: Parsed) -> None:
    assert parse(words.split()) == wanted


def test_an_option_without_its_value_is_told_so(parse: Callable[[list[str]], Parsed]) -> None:
    with pytest.raises(typer.exceptions.TyperException):
        parse(["gpu1", "--reason"])
