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

Bare verbs are what people do daily; everything else is `keyturn NOUN VERB`. Every command takes `--json`, but those that
serve, whose log is JSON with `--log-json`. Results are printed on standard output, errors on standard error. What is signed
is shown on standard error before; with `--json`, and no terminal there, each line of it is one JSON object: `{"note":"..."}`,
or `{"error":{"code":...,"message":...,"hint":...,"reasons":[...]}}`, which comes last.
[errors.md](errors.md) lists the errors. Written by `make docs` from the program; do not edit.

New here? [first-lab.md](first-lab.md) is the first hour.

`keyturn --install-completion` lets your shell complete commands, options, ids of records, and the names of members, groups,
permits, resources, gates, builders and witnesses, from the lab's directory, or from its service when that answers at once.

## Exit status

What you typed or have on this machine is 2, what the lab knows and verified is 1, what did not answer is 3. Only 0 is a yes.

| status | meaning | situations |
|---|---|---|
| 0 | done | what was asked for is done; for what takes away: witnessed, and so in force, and obeyed by each \
gate that it concerns, which said so under its key |
| 1 | verified and refused | a rule, a policy or a person says no; a signature, pack, model or log does not verify; a file that \
others wrote is not what it claims to be; the lab has no such record, member, gate, permit or action; the lab is founding, so \
that nothing is granted; a scan finds a door that two people did not accept; something descends from what is bad |
| 2 | usage | words or options that cannot be; an id, name or duration of another form, or that begins several; no file, \
directory or key where you named one; a file that you write yourself (`STEP.toml`, `config.toml`, `gate.toml`) says what cannot \
be; no lab, no home, no pinned root; a process that is not set up here; a file that would be overwritten; you did not say \
yes: `n`, the end \
of the input, no terminal without `--yes`, or the signing page declined |
| 3 | could not find out | a service, witness, builder, gate, token or agent does not run or answer; a file that is there cannot \
be read or written; no quorum of witnesses in time, or a gate that does not say that it \
obeys (NOT IN FORCE; what was signed is signed, and the result is printed all the same); somebody else was first, and nothing \
was changed; a PIN that nobody can type; a scan finds no open door, and something that it could not look at; a defect of Keyturn |
| 130 | Ctrl-C | |
| 141 | whoever read the output went away | |

## Environment

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
    example = (command.epilog or "").removeprefix("Example: ")
    lines = [
        f"\n## {name}\n",
        f"    {usage}\n    {example}\n",
        inspect.cleandoc(command.help or "").split("\f")[0] + "\n",
    ]
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
