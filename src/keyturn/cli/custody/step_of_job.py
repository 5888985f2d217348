"""`keyturn step open`, `resume`, `close` and `checkpoints`: attach a step to a job that a scheduler starts."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keyturn.cli import output
from keyturn.cli.custody.run import show_request
from keyturn.cli.options import Json, Key, Lab, Yes

if TYPE_CHECKING:
    from keyturn.wiring.custody.open_attempt import Opened

__all__ = ["checkpoints", "close", "open_", "resume"]

Attempt = Annotated[
    Path | None,
    typer.Option(help="A new directory that all ranks of the job see. Default: out.attempt/ beside the outputs."),
]
AttemptDirectory = Annotated[
    Path, typer.Argument(metavar="DIRECTORY", help="What KEYTURN_STEP is set to in the job.", show_default=False)
]


def open_(
    step: Annotated[Path, typer.Argument(metavar="STEP", help="The STEP.toml.", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="Where the outputs go. Default: out/ beside it.")] = None,
    attempt: Attempt = None,
    key: Key = None,
    yes: Yes = False,
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Open a step for a job that a scheduler starts: digest what goes in, log the request, and print what the job needs.

    The job's checkpoints are logged as they are written. Nothing confines it, so what it says is your word: level 1.
    """
    from keyturn.wiring.custody.open_attempt import open_attempt, prepare_attempt
    from keyturn.wiring.lab.places import find_lab

    place = find_lab(lab)
    with _reading(json=json) as on_bytes:
        prepared = prepare_attempt(place, step, out=out, directory=attempt, key=key, on_bytes=on_bytes)
    with prepared.until_opened():
        show_request(prepared.request, Path(prepared.place.destination), json=json)
        output.confirm("Sign and log this?", yes=yes)
        opened = open_attempt(place, prepared)
    _say_opened(opened, json=json)


def resume(
    earlier: AttemptDirectory,
    checkpoint: Annotated[
        int | None, typer.Option(min=1, help="Which one to go on from, by number. Default: the newest.")
    ] = None,
    attempt: Attempt = None,
    key: Key = None,
    yes: Yes = False,
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Go on from a checkpoint of the attempt in DIRECTORY: log what waits there, and open the next attempt.

    The checkpoint is read again first, and is an input of the new attempt, called `checkpoint`.
    """
    from keyturn.wiring.custody.open_attempt import open_attempt, prepare_next
    from keyturn.wiring.lab.places import find_lab

    named = find_lab(lab) if lab is not None else None
    with _reading(json=json) as on_bytes:
        prepared, kept = prepare_next(named, earlier, number=checkpoint, directory=attempt, key=key, on_bytes=on_bytes)
    show_request(prepared.request, Path(prepared.place.destination), json=json)
    output.warn(f"  goes on   from checkpoint {kept.number} at {kept.path}", json=json)
    output.confirm("Sign and log this?", yes=yes)
    _say_opened(open_attempt(named or find_lab(prepared.place.lab), prepared), json=json)


def close(directory: AttemptDirectory, lab: Lab = None, json: Json = False) -> None:
    """Close the attempt in DIRECTORY: digest what came out, log it, and put it where it goes. Its key is forgotten."""
    from keyturn.wiring.custody.attempts import close_attempt
    from keyturn.wiring.lab.places import find_lab

    with _reading(json=json) as on_bytes:
        closed = close_attempt(find_lab(lab) if lab is not None else None, directory, on_bytes=on_bytes)
    output.emit(
        {
            "step": closed.step,
            "destination": str(closed.destination),
            "outputs": dict(closed.outputs),
            "provenance": f"prv-{closed.provenance[:32]}",
            "checkpoints": closed.checkpoints,
        },
        json=json,
        human=lambda screen: screen.print(
            output.plain(
                "\n".join(
                    [
                        f"step {closed.step} is done: {closed.destination}",
                        *(f"  {name}  {digest}" for name, digest in closed.outputs.items()),
                        f"  provenance  prv-{closed.provenance[:32]}, {closed.checkpoints} checkpoints before it",
                    ]
                )
            )
        ),
    )


def checkpoints(directory: AttemptDirectory, json: Json = False) -> None:
    """List the checkpoints of the attempt in DIRECTORY, and which of them the log has."""
    from keyturn.wiring.custody.attempts import checkpoints_of

    found = checkpoints_of(directory)
    output.emit(
        [{"number": c.number, "digest": c.digest, "path": c.path, "bytes": c.bytes, "logged": c.logged} for c in found],
        json=json,
        human=lambda screen: output.rows(
            screen,
            ("number", "digest", "bytes", "logged", "path"),
            [(str(c.number), c.digest[:24], f"{c.bytes:,}", "yes" if c.logged else "not yet", c.path) for c in found],
        ),
    )


@contextmanager
def _reading(*, json: bool) -> Iterator[Callable[[str, int, int], None]]:
    if json:
        yield lambda what, done, total: None
        return
    with output.console(stderr=True).status("reading") as status:
        yield lambda what, done, total: status.update(
            output.plain(f"digesting {what} {done * 100 // total if total else 0} %")
        )


def _say_opened(opened: Opened, *, json: bool) -> None:
    output.emit(
        {"request": f"stp-{opened.request[:32]}", "index": opened.index, "KEYTURN_STEP": str(opened.directory)},
        json=json,
        human=lambda screen: screen.print(
            output.plain(f"export KEYTURN_STEP={shlex.quote(str(opened.directory))}"), soft_wrap=True
        ),
    )
