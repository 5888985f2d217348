"""Write docs/cli.md: every command of `keyturn` with its arguments and options, as the program itself describes them.

python -m tools.cli_reference          # write docs/cli.md
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import typer
from typer.core import TyperCommand, TyperGroup

from keyturn.cli.main import COMMANDS, build

__all__ = ["commands", "page"]

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "cli.md"

HEAD = """# The command line

Bare verbs are what people do daily; everything else is `keyturn NOUN VERB`. Every command takes `--json`, prints results on
standard output and errors on standard error, and exits with 0 (done), 1 (verified and refused), 2 (usage) or 3 (could not
find out). What is signed is shown on standard error before; with `--json`, and no terminal there, each line of it is one JSON
object: `{"note":"..."}`, or `{"error":{"code":...,"message":...,"hint":...,"reasons":[...]}}`, which comes last.
[errors.md](errors.md) lists the errors. Written by `make docs` from the program; do not edit.

New here? [first-lab.md](first-lab.md) is the first hour.

| environment | meaning |
|---|---|
| `KEYTURN_HOME` | who you are: a directory with your keys. Default: `~/.config/keyturn`. One home is one member |
| `KEYTURN_KEY` | which of your keys signs, without `--key`: its kind, or how its id begins |
| `KEYTURN_LAB` | the lab, without `--lab`. Without both: as your `config.toml` says, else the nearest `keyturn.toml` |
| `KEYTURN_PASSPHRASE_FILE` | a file with the passphrase of your keys, if they are encrypted |
| `KEYTURN_UNSAFE_PIN_FILE` | a file of mode 0600 with your token's PIN, which is then asked of nobody: for tests |
| `KEYTURN_TRACEBACK` | when set, a defect of Keyturn shows where it happened |
"""


def commands() -> Iterator[tuple[str, TyperCommand]]:
    """Give every command with its full name, in the order of the table in `cli/main.py`."""
    there = [name for name, target in COMMANDS.items() if find_spec(target.partition(":")[0]) is not None]
    root = typer.main.get_group(build(there))
    for name in there:
        yield from _walk(f"keyturn {name}", root.commands[name])


def _walk(name: str, command: object) -> Iterator[tuple[str, TyperCommand]]:
    if isinstance(command, TyperGroup):
        for verb, inner in command.commands.items():
            yield from _walk(f"{name} {verb}", inner)
    elif isinstance(command, TyperCommand):
        yield name, command


def page() -> str:
    """Render docs/cli.md."""
    return HEAD + "".join(_section(name, command) for name, command in commands() if not command.hidden)


def _section(name: str, command: TyperCommand) -> str:
    context = typer.Context(command, info_name=name)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    lines = [f"\n## {name}\n", f"    {usage}\n", inspect.cleandoc(command.help or "").split("\f")[0] + "\n"]
    rows = [record for parameter in command.params if (record := parameter.get_help_record(context)) is not None]
    rows = [(option, said) for option, said in rows if option != "--help"]
    if rows:
        lines.append("| option | meaning |\n|---|---|")
        lines += [f"| `{option.replace('|', '/')}` | {said.replace('|', '/')} |" for option, said in rows]
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)}: {len(list(commands()))} commands")


if __name__ == "__main__":
    main()
