"""The reference pages under docs/ name everything that is there: error codes, commands, and nothing that is not."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperCommand

from tools import cli_reference, error_codes

ROOT = Path(__file__).resolve().parents[2]

# Clients pass on the code that a server gave them. Everything else says its codes as literals, but for a border or two that
# turns one kind of error into another.
PASS_ON = {"adapters/over_http/errors_over_http.py": 8}


def test_every_error_code_of_the_source_is_in_docs_errors() -> None:
    said = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    known = [*error_codes.codes(), *error_codes.failures()]
    missing = [code for code in known if f"| `{code}` |" not in said]
    assert missing == [], "type: make docs"


def test_docs_errors_lists_no_code_that_nothing_raises() -> None:
    said = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    listed = [line.split("`")[1] for line in said.splitlines() if line.startswith("| `")]
    assert sorted(set(listed) - set(error_codes.codes()) - set(error_codes.failures())) == [], "type: make docs"


def test_every_code_is_kebab_case_ascii() -> None:
    assert [code for code in error_codes.codes() if not code.replace("-", "").isalnum() or code != code.lower()] == []


def test_a_code_that_is_no_literal_is_found(tmp_path: Path) -> None:
    (tmp_path / "keyturn").mkdir()
    (tmp_path / "keyturn" / "x.py").write_text('raise Refused(code, "m")\nraise errors.Malformed("a-b", f"x {y} z")\n')
    assert error_codes.computed_codes(tmp_path) == {"x.py": 1}
    assert error_codes.codes(tmp_path)["a-b"].texts == {"x … z"}


def test_codes_are_literals() -> None:
    computed = error_codes.computed_codes()
    assert {place: count for place, count in computed.items() if count > PASS_ON.get(place, 3)} == {}


@pytest.mark.parametrize("name", [name for name, _ in cli_reference.commands()])
def test_every_command_is_in_docs_cli(name: str) -> None:
    said = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert f"## {name}\n" in said, "type: make docs"


@pytest.mark.parametrize(("name", "command"), list(cli_reference.commands()), ids=str)
def test_every_command_says_what_it_does(name: str, command: object) -> None:
    said = getattr(command, "help", "") or ""
    assert said.strip().endswith((".", ":", "?", ")", "`")) or "." in said, f"`{name}` has no help"


@pytest.mark.parametrize(("name", "command"), list(cli_reference.commands()), ids=str)
def test_every_commands_help_ends_with_an_example_that_can_be_typed(name: str, command: TyperCommand) -> None:
    said, *words = shlex.split(command.epilog or "")
    named = name.split()
    assert [said, *words[: len(named)]] == ["Example:", *named]
    options, rest, _ = command.make_parser(typer.Context(command)).parse_args(args=words[len(named) :])
    assert [one.name for one in command.params if one.required and options.get(str(one.name)) in (None, ())] == []
    assert rest == []


def test_an_option_is_of_one_type_wherever_it_stands() -> None:
    types: dict[str, set[str]] = {}
    for _, command in cli_reference.commands():
        for parameter in command.params:
            taken: Any = getattr(parameter, "type_descriptor")  # noqa: B009  # Typer's own, which its stubs lack
            for option in parameter.opts:
                types.setdefault(option, set()).add(re.sub(r"list\[|\]|<class '|'>", "", str(taken.annotation)))
    assert {
        option: sorted(found) for option, found in types.items() if option.startswith("--") and len(found) > 1
    } == {}


def test_every_environment_variable_that_the_program_reads_is_in_docs_cli() -> None:
    said = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    to_steps = {
        "KEYTURN_IN",
        "KEYTURN_OUT",
        "KEYTURN_STEP",
        "KEYTURN_ATTEMPT",
    }  # what a step finds: docs/formats/step-toml.md
    read = set(re.findall(r"(?<!_)KEYTURN_[A-Z_]+[A-Z]", source)) - to_steps
    assert {name for name in read if f"| `{name}` |" not in said} == set(), "tools/cli_reference.py lists them"


def test_every_argument_is_named_in_capitals_as_the_words_of_the_commands_name_it() -> None:
    said = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `([a-z][^`]* <[^`]*)`", said, re.MULTILINE) == [], 'say metavar="NAME"'
