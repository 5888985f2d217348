"""`keyturn step reproduce` and `compare`: have another builder run a step again, and see what came out otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keyturn.cli import output
from keyturn.cli.completion import offer_names
from keyturn.cli.custody.run import show_request, wait_for_step
from keyturn.cli.names import this_is_there
from keyturn.cli.options import Json, Key, Lab, Yes

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["compare", "reproduce"]


def compare(
    first: Annotated[Path, typer.Argument(metavar="FIRST", help="A directory or file.", show_default=False)],
    second: Annotated[Path, typer.Argument(metavar="SECOND", help="Another of the same kind.", show_default=False)],
    json: Json = False,
) -> None:
    """Compare two outputs file by file, and safetensors files tensor by tensor; exit status 1 when they differ."""
    from keyturn.bulk.compare import compare as compare_files
    from keyturn.cli.custody.comparison_shown import as_json, lines

    found = compare_files(first, second)
    output.emit(as_json(found), json=json, human=lambda screen: screen.print(output.plain("\n".join(lines(found)))))
    if any(one.verdict != "same" for one in found):
        raise typer.Exit(1)


def a_step_or_artifact(value: str) -> str:
    """Accept the digest of an artifact, or the id of the provenance that made it."""
    from keyturn.app.records.find_record import record_prefix
    from keyturn.formats.digest import ArtifactDigest

    if value.startswith(("dirHash:", "sha256:")):
        ArtifactDigest.parse(value)
    else:
        record_prefix(value, ("prv",))
    return value


def reproduce(
    made: Annotated[
        str,
        typer.Argument(
            metavar="MADE",
            help="An artifact's digest, or the provenance that made it, as `prv-1a2b3c4d`.",
            show_default=False,
            callback=a_step_or_artifact,
        ),
    ],
    step: Annotated[Path, typer.Argument(metavar="STEP", help="The STEP.toml that it ran with.", show_default=False)],
    builder: Annotated[
        str | None,
        typer.Option(
            help="Which builder. Default: the only one of another operator.", autocompletion=offer_names("builders")
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where the outputs go. Default: out.again/ beside it.")] = None,
    first: Annotated[
        Path | None,
        typer.Option(
            help="What came out first: compare it, tensor by tensor, when it differs.", callback=this_is_there
        ),
    ] = None,
    key: Key = None,
    yes: Yes = False,
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Have a builder of another operator run a step of the log again, on the same inputs, and say whether it made the same.

    Exit status 1 when it did not. When it did, the artifact is SLSA_BUILD_REPRODUCED once both are in the log.
    """
    from keyturn.bulk.compare import compare as compare_files
    from keyturn.cli.custody import comparison_shown
    from keyturn.wiring.custody.reproduce import prepare_again
    from keyturn.wiring.custody.run_command import order_step
    from keyturn.wiring.lab.places import find_lab

    place = find_lab(lab)
    again = prepare_again(place, made, step, builder=builder, out=out, key=key)
    show_request(again.prepared.request, again.prepared.destination, json=json)
    output.warn(f"  again     what builder {again.first.builder.name} made", json=json)
    output.confirm("Sign and run this?", yes=yes)
    asked = again.prepared.request
    job = order_step(place, again.prepared)
    outcome = wait_for_step(place, job, builder=asked.builder, json=json)
    same = again.same(outcome.outputs)
    found = () if first is None or all(same.values()) else compare_files(first, again.prepared.destination)
    found = tuple(one for one in found if one.path not in ("step.json", "step.log"))  # the builder's own, of each run

    def show(screen: Console) -> None:
        lines = [f"  {'same' if is_same else 'DIFFERS':8} {name}" for name, is_same in same.items()]
        by = f"builders {again.first.builder.name} and {asked.builder}"
        verdict = f"reproduced by {by}" if all(same.values()) else f"NOT reproduced: {by} made other bytes"
        if found:
            lines += comparison_shown.lines(found)
        elif not all(same.values()):
            lines.append(
                f"next: keyturn step compare FIRST {again.prepared.destination}    (FIRST: where the first run's outputs lie)"
            )
        screen.print(output.plain("\n".join([f"step {asked.step}: {verdict}", *lines])))

    output.emit(
        {
            "reproduced": all(same.values()),
            "builders": [again.first.builder.name, asked.builder],
            "outputs": same,
            "request": f"stp-{job[:32]}",
            "provenance": f"prv-{outcome.provenance[:32]}",
            "differences": comparison_shown.as_json(found) if found else None,
        },
        json=json,
        human=show,
    )
    if not all(same.values()):
        raise typer.Exit(1)
