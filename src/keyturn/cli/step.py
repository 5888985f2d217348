"""`keyturn step`: what helps to write a STEP.toml, and to follow a step that runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from keyturn.cli import output
from keyturn.cli.completion import offer_names
from keyturn.cli.names import StepOrder, a_resource
from keyturn.cli.options import Json, Key, Lab, Yes, said_to_people

__all__ = ["app"]

app = typer.Typer(
    help="Write and check a STEP.toml, follow a step that runs, and say what an evaluation must reach.",
    no_args_is_help=True,
)


@app.command()
def digest(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A directory or file.", show_default=False)],
    manifest: Annotated[Path | None, typer.Option(help="Write the whole manifest to this new file.")] = None,
    json: Json = False,
) -> None:
    """Print the digest of an artifact, as a STEP.toml and every record names it."""
    from keyturn.adapters.files.config_files import write_new
    from keyturn.bulk.manifest import make
    from keyturn.formats.manifest import render

    with output.progress(f"hashing {output.plain(str(path))}", 0, unit="bytes") as advance:
        seen = [0]

        def on_bytes(done: int, _total: int) -> None:
            advance(done - seen[0])
            seen[0] = done

        made = make(path, progress=on_bytes)
    if manifest is not None:
        write_new(manifest, render(made))
    output.emit(
        {"digest": str(made.identity), "files": len(made.files), "bytes": made.size_bytes},
        json=json,
        human=lambda screen: screen.print(str(made.identity)),
    )


@app.command()
def check(
    step: Annotated[Path, typer.Argument(metavar="STEP", help="The STEP.toml.", show_default=False)],
    json: Json = False,
) -> None:
    """Check a STEP.toml, and print every input with its digest resolved; runs and signs nothing."""
    from keyturn.adapters.files.config_files import read_small
    from keyturn.config.step import parse
    from keyturn.wiring.steps import declared_inputs

    raw = read_small(step)
    parsed = parse(raw, where=str(step))
    inputs = declared_inputs(raw, parsed, step.absolute().parent)
    output.emit(
        {"step": parsed.name, "inputs": {i.name: i.digest for i in inputs}},
        json=json,
        human=lambda screen: screen.print("\n".join(f"{i.name}  {i.digest}" for i in inputs)),
    )


@app.command()
def wait(
    request: StepOrder,
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Wait for a step that the builder runs, after the one who began it stopped waiting; shows what `keyturn run` would."""
    from keyturn.cli.run import wait_and_show
    from keyturn.wiring.places import find_lab
    from keyturn.wiring.run_command import find_job

    place = find_lab(lab)
    wait_and_show(place, find_job(place, request), json=json)


@app.command()
def criteria(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="As `model/aurora`, or the whole URI.",
            show_default=False,
            callback=a_resource,
            autocompletion=offer_names("resources"),
        ),
    ],
    metric: Annotated[str, typer.Option(help="The metric that is measured, as `bits-per-byte`.")],
    comparison: Annotated[
        Literal["above", "at-least", "at-most", "below"], typer.Option(help="How it must compare with the threshold.")
    ],
    threshold: Annotated[str, typer.Option(help="A decimal number.")],
    on: Annotated[
        list[str], typer.Option(help="Data that the evaluation must take: a path, or its digest. Repeat for more.")
    ],
    against: Annotated[
        str | None, typer.Option(help="Compare the difference to this other metric, as a baseline's.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why these.", callback=said_to_people)] = "",
    key: Key = None,
    yes: Yes = False,
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Log what a model must reach, before anybody measures it; `keyturn run --criteria` names the record."""
    from keyturn.errors import Usage
    from keyturn.formats.posix_time import rfc3339
    from keyturn.formats.steps import EvaluationCriteria
    from keyturn.wiring.criteria import author_of, log_criteria
    from keyturn.wiring.places import find_lab
    from keyturn.wiring.release import artifact_digest
    from keyturn.wiring.typed import uri

    place = find_lab(lab)
    author = author_of(place, key=key)
    resource = str(uri("MODEL", model, lab=author.trust.lab))
    data = [artifact_digest(named)[0] for named in on]
    try:
        stated = EvaluationCriteria(
            lab=author.trust.lab,
            nonce=author.nonce,
            member=author.member,
            key=author.key.public.keyid,
            model=resource,
            metric=metric,
            comparison=comparison,
            threshold=threshold,
            against=against,
            reason=reason,
            trust_version=author.trust.targets_version,
            signed_at=author.now,
        )
    except ValueError as err:
        raise Usage("criteria-invalid", str(err)) from err
    difference = "" if against is None else f" minus {against}"
    said = [f"criteria of {resource}", f"  {metric}{difference} is {comparison} {threshold}"]
    said += [f"  on   {digest}" for digest in data]
    said += [f"  why  {reason or '-'}", f"  by   {author.member}, at {rfc3339(author.now)}"]
    output.warn("\n".join(said), json=json)
    output.confirm("Sign and log this?", yes=yes)
    logged = log_criteria(place, stated, data, author)
    output.emit(
        {"id": logged.id, "digest": logged.digest, "index": logged.index},
        json=json,
        human=lambda screen: screen.print(f"{logged.id} is logged as entry {logged.index}"),
    )
