"""`keyturn step`: what helps to write a STEP.toml, to follow a step that runs, and to attach one to a job."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from keyturn.cli import output
from keyturn.cli.completion import offer_names
from keyturn.cli.custody.import_mlflow import import_mlflow
from keyturn.cli.custody.reproduce import compare, reproduce
from keyturn.cli.custody.run import show_request, wait_and_show
from keyturn.cli.names import StepOrder, a_resource, this_is_there
from keyturn.cli.options import Json, Key, Lab, Yes, said_to_people

if TYPE_CHECKING:
    from keyturn.wiring.custody.attempts import Opened

__all__ = ["app"]

Attempt = Annotated[
    Path | None,
    typer.Option(help="A new directory that all ranks of the job see. Default: out.attempt/ beside the outputs."),
]
AttemptDirectory = Annotated[
    Path, typer.Argument(metavar="DIRECTORY", help="What KEYTURN_STEP is set to in the job.", show_default=False)
]

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
def wait(
    request: StepOrder,
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Wait for a step that the builder runs, after the one who began it stopped waiting; shows what `keyturn run` would."""
    from keyturn.wiring.custody.run_command import find_job
    from keyturn.wiring.lab.places import find_lab

    place = find_lab(lab)
    job, builder = find_job(place, request)
    wait_and_show(place, job, builder=builder, json=json)


@app.command()
def show(
    request: StepOrder,
    lab: Lab = None,
    json: Json = False,
) -> None:
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


@app.command()
def order(
    step: Annotated[Path, typer.Argument(metavar="STEP", help="The STEP.toml.", show_default=False)],
    file: Annotated[Path, typer.Argument(metavar="ORDER", help="The new file for the order.", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="Where the outputs go. Default: out/ beside it.")] = None,
    builder: Annotated[
        str | None,
        typer.Option(help="Which builder of the lab. Default: the only one.", autocompletion=offer_names("builders")),
    ] = None,
    key: Key = None,
    yes: Yes = False,
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Sign the order of a step for a builder beside Slurm, into a file that the job's comment names."""
    from keyturn.wiring.custody.run_command import prepare, write_order
    from keyturn.wiring.lab.places import find_lab

    place = find_lab(lab)
    prepared = prepare(place, step, out=out, criteria=None, builder=builder, sandboxed=True, key=key)
    show_request(prepared.request, prepared.destination, json=json)
    output.confirm("Sign this?", yes=yes)
    digest, written = write_order(prepared, file), file.absolute()
    output.emit(
        {"request": f"stp-{digest[:32]}", "order": str(written), "comment": f"keyturn:{written}"},
        json=json,
        human=lambda screen: screen.print(
            output.plain(f"submit it with  sbatch --comment={shlex.quote(f'keyturn:{written}')}"), soft_wrap=True
        ),
    )


@app.command("open")
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
    from keyturn.wiring.custody.attempts import open_attempt, prepare_attempt
    from keyturn.wiring.lab.places import find_lab

    place = find_lab(lab)
    with _reading(json=json) as on_bytes:
        prepared = prepare_attempt(place, step, out=out, directory=attempt, key=key, on_bytes=on_bytes)
    show_request(prepared.request, Path(prepared.place.destination), json=json)
    output.confirm("Sign and log this?", yes=yes)
    _say_opened(open_attempt(place, prepared), json=json)


@app.command()
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
    from keyturn.wiring.custody.attempts import open_attempt, prepare_next
    from keyturn.wiring.lab.places import find_lab

    named = find_lab(lab) if lab is not None else None
    with _reading(json=json) as on_bytes:
        prepared, kept = prepare_next(named, earlier, number=checkpoint, directory=attempt, key=key, on_bytes=on_bytes)
    show_request(prepared.request, Path(prepared.place.destination), json=json)
    output.warn(f"  goes on   from checkpoint {kept.number} at {kept.path}", json=json)
    output.confirm("Sign and log this?", yes=yes)
    _say_opened(open_attempt(named or find_lab(prepared.place.lab), prepared), json=json)


@app.command()
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


@app.command()
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
    from keyturn.wiring.custody.criteria import author_of, log_criteria
    from keyturn.wiring.custody.release import artifact_digest
    from keyturn.wiring.lab.places import find_lab
    from keyturn.wiring.typed import uri

    place = find_lab(lab)
    author = author_of(place, key=key)
    resource = str(uri("MODEL", model, lab=author.trust.lab))
    data = []
    for named in on:
        with output.hashing(named, json=json) as on_bytes:
            data.append(artifact_digest(named, on_bytes)[0])
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
