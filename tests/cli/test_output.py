"""Tables show every cell whole, on any screen, and end no line with spaces."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from rich.console import Console

from keyturn.cli import output
from keyturn.cli.log import log
from keyturn.errors import Unavailable

ID, URI = "req-" + "1" * 32, "keyturn://acme.example/model/" + "m" * 60
HEADER = ("request", "who", "resource")
CELLS = [(ID, "ada", URI), (ID.replace("1", "2"), "bob", "short")]


def shown(*, width: int, terminal: bool) -> str:
    screen = Console(file=StringIO(), width=width, force_terminal=terminal, markup=False, emoji=False, highlight=False)
    output.rows(screen, HEADER, CELLS)
    assert isinstance(screen.file, StringIO)
    return screen.file.getvalue()


@pytest.mark.parametrize(("width", "terminal"), [(60, True), (200, True), (60, False)], ids=["60", "200", "a pipe"])
def test_every_cell_is_whole_and_no_line_ends_with_spaces(width: int, terminal: bool) -> None:
    text = shown(width=width, terminal=terminal)
    for row in CELLS:
        for cell in row:
            assert cell in text
    assert "\x1b" not in text, "nothing is bold, for those who want no colour"
    assert all(line == line.rstrip() for line in text.splitlines())


def test_columns_stand_below_each_other_where_they_fit() -> None:
    header, first, second = shown(width=200, terminal=True).splitlines()
    assert header.index("who") == first.index("ada") == second.index("bob")


def test_fields_stand_below_each_other_where_columns_do_not_fit() -> None:
    assert f"\nrequest   {ID}\nwho       ada\nresource  {URI}\n" in shown(width=60, terminal=True)


def test_text_of_others_breaks_no_table() -> None:
    screen = Console(file=StringIO(), width=200, markup=False)
    output.rows(screen, ("why",), [("a\x1b[31m\nb",)])
    assert isinstance(screen.file, StringIO)
    assert screen.file.getvalue() == "why\na\\x1b[31m b\n"


def test_what_more_is_known_of_an_error_is_shown_to_people_and_scripts(capsys: pytest.CaptureFixture[str]) -> None:
    err = Unavailable("witness-quorum", "one said it", detail="\n".join(f"line {n} \x1b[2J" for n in range(30)))
    output.show_error(err, json=False)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("  | ")]
    assert (len(lines), lines[-1]) == (20, "  | line 29 \\x1b[2J")
    output.show_error(err, json=True)
    assert json.loads(capsys.readouterr().err)["error"]["detail"] == err.detail


@pytest.mark.parametrize(
    ("tag", "said"),
    [
        ("dirHash:" + "a1" * 32, "dirHash:a1a1a1a1a1a1a1a1"),
        ("model:keyturn://acme.example/model/aurora", "model:keyturn://acme.example/model/aurora"),
        ("member:" + "m" * 64, "member:" + "m" * 64),
        ("version:1", "version:1"),
    ],
)
def test_an_entry_of_the_log_is_a_line_that_can_be_read(tag: str, said: str) -> None:
    assert log.in_short(tag) == said
