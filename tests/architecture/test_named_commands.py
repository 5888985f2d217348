"""Every command that a page, a docstring or an error's hint names is one that can be typed, with the options it names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tools import cli_reference

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
SOURCE = sorted((ROOT / "src").rglob("*.py"))

# `keyturn ...` in backticks, at the beginning of a line of code, behind a prompt, and as (or inside) a hint.
SNIPPET = re.compile(
    r"`keyturn (?P<ticked>[^`\n]+)`"
    r"|^ {4,}(?:\w+(?:\+\w+)? \$ |\$ )?keyturn (?P<typed>[^\n#]+)"
    r"|hint=f?\"(?:[^\"\n]*[ :`])?keyturn (?P<hinted>[^\"\n`]+)",
    re.MULTILINE,
)
WORDS = {"NOUN", "VERB"}
SHORT = {"release": "ask"}
"""`keyturn release MODEL` is `keyturn release ask MODEL`: `cli/custody/release.py`."""


@cache
def known() -> dict[str, frozenset[str]]:
    """Each command and group with the options it takes."""
    everywhere = {"--help", "--json", "--version", "--install-completion", "--show-completion"}
    found: dict[str, frozenset[str]] = {"": frozenset(everywhere)}
    for name, command in cli_reference.commands():
        path = name.removeprefix("keyturn ")
        options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        found[path] = frozenset(options | everywhere)
        while " " in path:
            path = path.rpartition(" ")[0]
            found.setdefault(path, frozenset(everywhere))
    return found


def wrong_in(snippet: str) -> str | None:
    """Why `snippet` (what follows `keyturn`) cannot be typed, or None."""
    snippet = re.split(r",? or |; | -- ", snippet)[0]  # a hint's other way out; and what is for another program
    words = re.split(r"[\s,;|:.]+", snippet)
    if words[0] in WORDS or words[0].startswith(("-", "{", "…", "...")):
        return None
    if words[0] in SHORT and len(words) > 1 and f"{words[0]} {words[1]}" not in known():
        words = [words[0], SHORT[words[0]], *words[1:]]
    path = ""
    for word in words:
        longer = f"{path} {word}".strip()
        if longer not in known():
            break
        path = longer
    if not path:
        return f"no command `{words[0]}`"
    left = words[len(path.split()) :]
    if any(name.startswith(f"{path} ") for name in known()) and left and re.fullmatch(r"[a-z][a-z-]+", left[0]):
        return f"no command `{path} {left[0]}`"
    missing = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", snippet)) - known()[path]
    return f"`keyturn {path}` takes no {', '.join(sorted(missing))}" if missing else None


def snippets(path: Path) -> Iterator[str]:
    for found in SNIPPET.finditer(path.read_text(encoding="utf-8")):
        yield next(text for text in found.groups() if text is not None)


def test_every_command_that_is_named_can_be_typed() -> None:
    wrong = {
        f"{path.relative_to(ROOT)}: keyturn {snippet}": why
        for path in (*PAGES, *SOURCE)
        for snippet in snippets(path)
        if (why := wrong_in(snippet)) is not None
    }
    assert wrong == {}


def test_the_search_finds_commands_and_sees_what_is_wrong() -> None:
    assert sum(1 for path in (*PAGES, *SOURCE) for _ in snippets(path)) > 100
    assert wrong_in("trust propose --renew") is None
    assert wrong_in("trust sing") == "no command `trust sing`"
    assert wrong_in("frobnicate") == "no command `frobnicate`"
    assert wrong_in("verify PACK --root root.json --force") == "`keyturn verify` takes no --force"
