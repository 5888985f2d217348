"""`keyturn lineage`: where an artifact came from, what became of it, and what descends from a bad one or a stolen key."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from typing import Annotated

import typer

from keyturn.cli import output
from keyturn.cli.options import Json, Lab

__all__ = ["app"]

app = typer.Typer(
    help="Where an artifact came from, what became of it, and what is affected by a bad one.", no_args_is_help=True
)


class Format(StrEnum):
    """How a lineage is shown."""

    TREE = "tree"
    JSON = "json"
    DOT = "dot"
    SVG = "svg"


@app.callback()
def _noun() -> None:
    """Where an artifact came from, what became of it, and what is affected by a bad one."""


@app.command()
def show(
    artifact: Annotated[
        str, typer.Argument(metavar="ARTIFACT", help="A path, or dirHash:... or sha256:...", show_default=False)
    ],
    drawn: Annotated[
        Format, typer.Option("--format", help="`dot` is for Graphviz; `svg` needs no other program.")
    ] = Format.TREE,
    back: Annotated[
        bool | None,
        typer.Option(
            "--back/--ahead",
            help="Only what it was made from, or only what was made from it. Default: both.",
            show_default=False,
        ),
    ] = None,
    depth: Annotated[int, typer.Option(min=1, max=10_000, help="How many steps far.")] = 50,
    steps: Annotated[int, typer.Option(min=1, max=100_000, help="At most how many steps on each side.")] = 200,
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Show the lineage of ARTIFACT as a tree, both ways: what it was made from, and what was made from it."""
    from keyturn.app.custody.show_lineage import Bounds
    from keyturn.cli.custody.lineage_shown import as_json, pictured, show_tree
    from keyturn.wiring.custody.lineage import lineage_of
    from keyturn.wiring.custody.release import artifact_digest
    from keyturn.wiring.lab.places import find_lab

    with output.hashing(artifact, json=json) as on_bytes:
        digest, _ = artifact_digest(artifact, on_bytes)
    bounds = Bounds(depth, steps, behind=back is not False, ahead=back is not True)
    with _reading(json=json) as progress:
        shown = lineage_of(find_lab(lab), digest, bounds=bounds, progress=progress)
    if drawn in (Format.DOT, Format.SVG) and not json:
        from keyturn.cli.custody.lineage_picture import as_dot, as_svg

        draw = as_dot if drawn == Format.DOT else as_svg
        sys.stdout.write(draw(pictured(shown)))
        return
    output.emit(as_json(shown), json=json or drawn == Format.JSON, human=lambda screen: show_tree(screen, shown))


@app.command()
def affected(
    bad: Annotated[
        str,
        typer.Argument(
            metavar="DIGEST|KEY",
            help="dirHash:... or sha256:... of a dataset, package, checkpoint or anything else, a path, or the id of a key.",
            show_default=False,
        ),
    ],
    since: Annotated[
        str | None,
        typer.Option(help="Of a key: only what can have been signed since then: `2026-11-30T12:00:00Z`, or `7d` ago."),
    ] = None,
    until: Annotated[str | None, typer.Option(help="Of a key: only what can have been signed until then.")] = None,
    lab: Lab = None,
    json: Json = False,
) -> None:
    """List every model and release that descends from a bad artifact or from what a key signed, with a shortest path to each.

    Exits with 0 when nothing does, 1 when anything does, 3 when that could not be found out.
    """
    from keyturn.cli.custody.affected_shown import as_json, show_affected
    from keyturn.wiring.custody.lineage import affected_by, bad_thing, interval_of
    from keyturn.wiring.lab.places import find_lab

    named = bad_thing(bad)
    interval = interval_of(named, since, until)
    with ExitStack() as opened:
        with _reading(json=json) as progress:
            found = opened.enter_context(affected_by(find_lab(lab), named, interval=interval, progress=progress))
        output.emit(as_json(found) if json else None, json=json, human=lambda screen: show_affected(screen, found))
    status = {"nothing": 0, "affected": 1, "unknown": 3}[found.verdict]
    if status:
        raise typer.Exit(status)


@contextmanager
def _reading(*, json: bool) -> Iterator[Callable[[int, int], None]]:
    """Show how far the log is read, when somebody watches; what was read before is not read again."""
    with output.progress("reading the log", 0, json=json) as advance:
        seen = 0

        def progress(done: int, _total: int) -> None:
            nonlocal seen
            advance(done - seen)
            seen = done

        yield progress
