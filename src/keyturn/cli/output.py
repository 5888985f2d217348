"""Show results: JSON for scripts on standard output, text for people; errors on standard error with code and hint.

Text that came from elsewhere (justifications, names, a step's output) goes through `plain`, so no terminal escape
ever reaches a terminal, and rich never reads markup in it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from keyturn.errors import KeyturnError, Refused, Usage
from keyturn.formats.plain_text import plain

if TYPE_CHECKING:
    from rich.console import Console

_WIDTH_OF_A_FILE = 10_000
_DETAIL_LINES = 20

__all__ = ["confirm", "console", "emit", "fields", "hashing", "plain", "progress", "rows", "show_error", "warn"]


def emit(value: object, *, json: bool, human: Callable[[Console], None]) -> None:
    """Print `value` as JSON (one indented document), or let `human` draw it on a console."""
    if json:
        import msgspec  # 30 ms that `--help` does not pay

        text = msgspec.json.format(msgspec.json.encode(value, order="sorted"), indent=2)
        sys.stdout.buffer.write(text + b"\n")
        sys.stdout.flush()
        return
    human(console())


def console(*, stderr: bool = False) -> Console:
    """Make a rich console without markup, emoji or highlighting: text is shown as it is, and whole where nobody watches."""
    from rich.console import Console

    screen = Console(stderr=stderr, markup=False, emoji=False, highlight=False, soft_wrap=True)
    if not screen.is_terminal:
        screen.width = _WIDTH_OF_A_FILE  # a pipe has no edge: cut off ids there are ids lost
    return screen


def rows(screen: Console, header: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    """Print a table whose every cell is whole: in columns, or where they do not fit on the screen one field below the other.

    A cut off id cannot be typed, and a cut off name may be somebody else's. Nothing is padded at the end of a line.
    """
    shown = [[plain(cell).replace("\n", " ") for cell in row] for row in cells]
    widths = [max(len(row[number]) for row in [header, *shown]) for number in range(len(header))]
    if not screen.is_terminal or sum(widths) + 2 * len(widths) <= screen.width:
        lines = [
            "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in [header, *shown]
        ]
    else:
        margin = max(map(len, header))
        lines = [
            f"{'' if number else chr(10)}{title:<{margin}}  {cell}"
            for row in shown
            for number, (title, cell) in enumerate(zip(header, row, strict=True))
        ]
    for line in lines:
        screen.print(line.rstrip(), soft_wrap=True)


def fields(screen: Console, value: Mapping[str, object]) -> None:
    """Print each field of `value` on a line of its own, its name before it; lists are joined by commas."""
    width = max(map(len, value))
    for name, found in value.items():
        said = ", ".join(map(str, found)) if isinstance(found, list | tuple) else found
        screen.print(plain(f"{name:{width}}  {said}"))


def warn(text: str, *, json: bool) -> None:
    """Say something on standard error that is no part of the result: what will be signed, a warning.

    For a script that asked for `json` it is one line, `{"note":"..."}`; a person at a terminal reads it as it is.
    """
    if json and not sys.stderr.isatty():
        import msgspec

        text = msgspec.json.encode({"note": text}).decode()
    sys.stderr.write(plain(text) + "\n")


def show_error(err: KeyturnError, *, json: bool) -> None:
    """Print `err` on standard error: what was expected and found, every reason, and what to type next."""
    from keyturn.cli.mends import mend_of
    from keyturn.cli.next_steps import next_step

    reasons = err.reasons if isinstance(err, Refused | Usage) else ((err.code, err.message),)
    if json:
        import msgspec

        body = {
            "error": {
                "code": err.code,
                "message": err.message,
                "hint": next_step(err),
                "reasons": [{"code": code, "message": message, "hint": mend_of(code)} for code, message in reasons],
            }
            | ({"detail": err.detail} if err.detail else {})
        }
        sys.stderr.write(msgspec.json.encode(body).decode() + "\n")
        return
    lines = [f"error: {err.message} [{err.code}]"]
    if len(reasons) > 1 or reasons[0][1] not in err.message:
        for code, message in reasons:
            mend = f"      try: {mend_of(code)}"
            lines.append(f"  - {message} [{code}]")
            if mend_of(code) not in ("", next_step(err)) and mend not in lines:
                lines.append(mend)
    lines += [f"  | {line}" for line in err.detail.splitlines()[-_DETAIL_LINES:]]
    if said := next_step(err):
        lines.append(f"  try: {said}")
    warn("\n".join(lines), json=False)


def confirm(question: str, *, yes: bool) -> None:
    """Ask before signing; without a terminal and without `--yes` the answer is no."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Usage(
            "not-confirmed", "there is no terminal to ask on, so this was not signed", hint="--yes signs what is shown"
        )
    try:
        agreed = typer.confirm(question, err=True)
    except typer.Abort as err:
        if isinstance(err.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from err
        agreed = False  # the input ended: that is no yes
    if not agreed:
        raise Usage(
            "not-confirmed", "you did not say yes, so this was not signed", hint="answer `y` to sign what is shown"
        )


@contextmanager
def progress(what: str, total: int, *, unit: str = "items", json: bool = False) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on standard error while a long task runs; the task calls the yielded function with increments.

    `unit` is `items` or `bytes`. Nothing is drawn when standard error is no terminal, or with `--json`.
    """
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    count = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), count, TimeRemainingColumn())
    out = console(stderr=True)
    with Progress(*columns, console=out, transient=True, disable=json or not out.is_terminal) as bar:
        task = bar.add_task(what, total=total or None)
        yield lambda done: bar.advance(task, done)


@contextmanager
def hashing(what: object, *, json: bool) -> Iterator[Callable[[int, int], None]]:
    """Show how far the hashing of `what` is, as `progress` does; the task calls the yielded function with (done, total) bytes.

    Nothing is drawn with `--json`: who reads that is a program, whatever standard error is.
    """
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    out = console(stderr=True)
    with Progress(*columns, console=out, transient=True, disable=json or not out.is_terminal) as bar:
        task = bar.add_task(f"hashing {plain(str(what))}", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
