"""`keyturn lineage`: where an artifact came from, what became of it, and what descends from a bad one or a stolen key."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keyturn.cli import output
from keyturn.cli.options import Json, Lab

if TYPE_CHECKING:
    from rich.console import Console

    from keyturn.app.custody.find_affected import Affected
    from keyturn.app.custody.shortest_paths import Hop

__all__ = ["app"]

app = typer.Typer(
    help="Where an artifact came from, what became of it, and what is affected by a bad one.", no_args_is_help=True
)

_PATHS_SHOWN = 50


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
    from keyturn.wiring.custody.lineage import affected_by, bad_thing, interval_of
    from keyturn.wiring.lab.places import find_lab

    named = bad_thing(bad)
    interval = interval_of(named, since, until)
    with ExitStack() as opened:
        with _reading(json=json) as progress:
            found = opened.enter_context(affected_by(find_lab(lab), named, interval=interval, progress=progress))
        output.emit(_said(found) if json else None, json=json, human=lambda screen: _show_affected(screen, found))
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


def _said(found: Affected) -> dict[str, Any]:
    import msgspec

    def of_hop(one: Hop) -> dict[str, Any]:
        if one.artifact is not None:
            return {"artifact": one.artifact}
        return {"index": one.index, "kind": one.kind, "of": one.label}

    def path(hops: tuple[Hop, ...]) -> list[dict[str, Any]]:
        return [of_hop(one) for one in hops]

    return {
        "of": found.of,
        "verdict": found.verdict,
        "signed": found.signed,
        "models": [
            msgspec.Raw(  # each as text at once: there may be hundreds of thousands
                msgspec.json.encode(
                    {"artifact": one.artifact, "build": one.build, "made_at": one.made_at, "path": path(one.path)}
                )
            )
            for one in found.models
        ],
        "releases": [
            {
                "index": one.index,
                "resource": one.resource,
                "model": one.model,
                "state": one.state,
                "withdrawn_by": [{"member": member, "index": index} for member, index in one.by],
                "path": path(one.path),
            }
            for one in found.releases
        ],
        "deployments": [
            {"index": one.index, "host": one.host, "ended_at": one.ended_at, "path": path(one.path)}
            for one in found.deployments
        ],
        "artifacts": found.artifacts,
        "failures": [{"index": f.index, "code": f.code, "message": f.message} for f in found.failures],
        "unread": [{"index": one.index, "kind": one.kind, "record": one.record} for one in found.unread],
        "as_of": found.as_of,
        "log_size": found.log_size,
    }


def _show_affected(screen: Console, found: Affected) -> None:
    from keyturn.formats.posix_time import rfc3339

    lines: list[str] = []
    for release in found.releases:
        over = ", ".join(f"{member} at entry {index}" for member, index in release.by)
        state = (
            "WITHDRAWN by"
            if release.state == "withdrawn"
            else "released; a request was ended by"
            if over
            else "released"
        )
        lines.append(f"release {release.resource}, entry {release.index} {state} {over}".rstrip())
        lines += _path(release.path)
    for one in found.deployments:
        until = "RUNS" if one.ended_at is None else f"ended at entry {one.ended_at}, ran"
        lines.append(f"deployment, entry {one.index}: {until} on {one.host}")
        lines += _path(one.path)
    for model in found.models[:_PATHS_SHOWN]:
        lines.append(f"model {model.artifact}, by {model.build}, entry {model.made_at[0]}")
        lines += _path(model.path)
    if len(found.models) > _PATHS_SHOWN:
        lines.append(f"and {len(found.models) - _PATHS_SHOWN} models more: --json has all")
    lines += [f"FAILURE at log index {failed.index}: {failed.message} [{failed.code}]" for failed in found.failures]
    lines += [
        f"UNREAD at log index {lost.index}: `{lost.kind}` record, erased; this key may have signed it"
        for lost in found.unread
    ]
    signed = f" ({len(found.signed)} statements)" if found.signed else ""
    count = f"{len(found.models)} models, {len(found.releases)} releases, {found.artifacts} artifacts in all"
    lines += [
        f"{found.verdict.upper()} by {found.of}{signed}: {count}",
        f"as of {rfc3339(found.as_of)}, log size {found.log_size}",
    ]
    for line in lines:
        screen.print(output.plain(line))


def _path(hops: tuple[Hop, ...]) -> Iterator[str]:
    for one in hops:
        yield f"    {one.artifact}" if one.artifact is not None else f"    > {one.kind} {one.label}, entry {one.index}"
