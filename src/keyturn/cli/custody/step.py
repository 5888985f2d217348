"""`keyturn step`: what helps to write a STEP.toml, to follow a step that runs, and to attach one to a job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keyturn.cli import output
from keyturn.cli.custody.criteria import criteria
from keyturn.cli.custody.import_mlflow import import_mlflow
from keyturn.cli.custody.order import order, receipt
from keyturn.cli.custody.reproduce import compare, reproduce
from keyturn.cli.custody.run import wait_and_show
from keyturn.cli.custody.step_of_job import checkpoints, close, open_, resume
from keyturn.cli.names import StepOrder, this_is_there
from keyturn.cli.options import Json, Lab

__all__ = ["app"]

app = typer.Typer(
    help="Write and check a STEP.toml, follow a step that runs, attach one to a job, and say what an evaluation must reach.",
    no_args_is_help=True,
)
app.command("import-mlflow")(import_mlflow)


@app.command()
def digest(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A directory or file, or what else `source` may name in a STEP.toml, as git+https://HOST/REPOSITORY@COMMIT.",
            show_default=False,
        ),
    ],
    manifest: Annotated[Path | None, typer.Option(help="Write the whole manifest to this new file.")] = None,
    json: Json = False,
) -> None:
    """Print the digest of an artifact, as a STEP.toml and every record names it."""
    from keyturn.adapters.files.config_files import write_new
    from keyturn.formats.manifest import Manifest, render
    from keyturn.wiring.custody.steps import contents_of

    with output.hashing(source, json=json) as on_bytes:
        made = contents_of(source, on_bytes, listed=manifest is not None)
    if manifest is not None:
        assert isinstance(made, Manifest)
        write_new(manifest, render(made))
    output.emit(
        {"digest": str(made.identity), "files": len(made.files), "bytes": made.size_bytes},
        json=json,
        human=lambda screen: screen.print(str(made.identity)),
    )


app.command()(compare)
app.command()(reproduce)


@app.command()
def check(
    step: Annotated[Path, typer.Argument(metavar="STEP", help="The STEP.toml.", show_default=False)],
    json: Json = False,
) -> None:
    """Check a STEP.toml, and print every input with its digest resolved; runs and signs nothing."""
    from keyturn.adapters.files.config_files import read_small
    from keyturn.config.step import parse
    from keyturn.wiring.custody.steps import declared_inputs

    raw = read_small(step)
    parsed = parse(raw, where=str(step))
    inputs = declared_inputs(raw, parsed, step.absolute().parent)
    output.emit(
        {"step": parsed.name, "inputs": {i.name: i.digest for i in inputs}},
        json=json,
        human=lambda screen: screen.print("\n".join(f"{i.name}  {i.digest}" for i in inputs)),
    )


@app.command()
def wait(request: StepOrder, lab: Lab = None, json: Json = False) -> None:
    """Wait for a step that the builder runs, after the one who began it stopped waiting; shows what `keyturn run` would."""
    from keyturn.wiring.custody.run_command import find_job
    from keyturn.wiring.lab.places import find_lab

    place = find_lab(lab)
    job, builder = find_job(place, request)
    wait_and_show(place, job, builder=builder, json=json)


@app.command()
def show(request: StepOrder, lab: Lab = None, json: Json = False) -> None:
    """Show how a step stands at the builder, or how it ended: attempts, what interrupted it, and what came out."""
    from keyturn.wiring.custody.run_command import find_job, job_state
    from keyturn.wiring.lab.places import find_lab

    place = find_lab(lab)
    job, builder = find_job(place, request)
    state = job_state(place, job, builder=builder)
    value = {
        "step": state.step,
        "request": f"stp-{state.job[:32]}",
        "state": state.state,
        "stage": state.stage,
        "attempt": state.attempt,
        "resumed": state.resumed,
        "history": list(state.history),
        "outputs": None if state.outcome is None else state.outcome.outputs,
        "provenance": None if state.outcome is None else f"prv-{state.outcome.provenance[:32]}",
        "error": None if state.error is None else {"code": state.error.code, "message": state.error.detail},
    }
    lines = [f"step {state.step} (stp-{state.job[:32]}) is {state.state}{f': {state.stage}' if state.stage else ''}"]
    if state.attempt:
        lines.append(f"  attempt {state.attempt}{f', went on from {state.resumed}' if state.resumed else ''}")
    lines += [f"  {line}" for line in state.history]
    if state.outcome is not None:
        lines.append(f"  outputs     {state.outcome.destination}")
        lines += [f"    {name}  {digest}" for name, digest in state.outcome.outputs.items()]
        lines.append(f"  provenance  prv-{state.outcome.provenance[:32]}")
    if state.error is not None:
        lines.append(f"  failed      {state.error.detail} [{state.error.code}]")
    output.emit(value, json=json, human=lambda screen: screen.print(output.plain("\n".join(lines)), soft_wrap=True))


@app.command()
def log(
    outputs: Annotated[
        Path,
        typer.Argument(
            metavar="DIRECTORY", help="Where the step's outputs lie.", show_default=False, callback=this_is_there
        ),
    ],
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Print what a step printed, after comparing it with the byproduct that its provenance names."""
    from keyturn.wiring.custody.step_log import read_step_log
    from keyturn.wiring.lab.places import find_lab

    found = read_step_log(find_lab(lab), outputs)
    text = found.content.decode("utf-8", "backslashreplace")
    output.emit(
        {
            "step": found.step,
            "provenance": f"prv-{found.provenance[:32]}",
            "bytes": len(found.content),
            "log": text,
        },
        json=json,
        human=lambda screen: screen.print(output.plain(text.rstrip("\n")), soft_wrap=True),
    )


app.command()(order)
app.command()(receipt)


app.command("open")(open_)
app.command()(resume)
app.command()(close)
app.command()(checkpoints)
app.command()(criteria)
