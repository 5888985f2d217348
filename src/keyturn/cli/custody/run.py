"""`keyturn run STEP.toml`: have the lab's builder run one step under custody."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keyturn.cli import output
from keyturn.cli.completion import offer_names, offer_records
from keyturn.cli.names import a_record
from keyturn.cli.options import Json, Key, Lab, Yes

if TYPE_CHECKING:
    from rich.console import Console

    from keyturn.adapters.over_http.builder_over_http import JobState, Outcome
    from keyturn.formats.digest import Sha256
    from keyturn.formats.steps import StepRequest
    from keyturn.wiring.custody.run_command import OnProgress
    from keyturn.wiring.lab.places import LabPlace

__all__ = ["emit_outcome", "progress_of", "run", "show_request", "wait_and_show", "wait_for_step"]


def run(
    step: Annotated[Path, typer.Argument(metavar="STEP", help="The STEP.toml.", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="Where the outputs go. Default: out/ beside it.")] = None,
    criteria: Annotated[
        str | None,
        typer.Option(
            help="For an evaluation: the criteria that were logged before.",
            callback=a_record("crt"),
            autocompletion=offer_records("crt"),
        ),
    ] = None,
    builder: Annotated[
        str | None,
        typer.Option(help="Which builder of the lab. Default: the only one.", autocompletion=offer_names("builders")),
    ] = None,
    no_sandbox: Annotated[
        bool, typer.Option("--no-sandbox", help="Run it here, as you, and sign it as you: nothing confines it.")
    ] = False,
    key: Key = None,
    yes: Yes = False,
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Run a step: inputs are checked, the sandbox holds nothing else, outputs are digested, provenance is logged.

    Ctrl-C stops the waiting, not the builder; `keyturn step wait` waits on.
    """
    from keyturn.wiring.custody.run_command import order_step, prepare, run_here
    from keyturn.wiring.lab.places import find_lab

    place = find_lab(lab)
    prepared = prepare(place, step, out=out, criteria=criteria, builder=builder, sandboxed=not no_sandbox, key=key)
    show_request(prepared.request, prepared.destination, json=json)
    output.confirm("Sign and run this?", yes=yes)
    if no_sandbox:
        with progress_of(json=json) as on_progress:
            outcome = run_here(place, prepared, on_progress)
        emit_outcome(prepared.request.step, outcome, json=json)
    else:
        wait_and_show(place, order_step(place, prepared), builder=prepared.request.builder, json=json)


def wait_and_show(place: LabPlace, job: Sha256, *, builder: str | None, json: bool) -> None:
    """Wait for the builder to be done with `job`, and show what came of it; after Ctrl-C, say that the step goes on."""
    state = _wait(place, job, builder, json=json)
    assert state.outcome is not None
    emit_outcome(state.step, state.outcome, json=json)


def wait_for_step(place: LabPlace, job: Sha256, *, builder: str | None, json: bool) -> Outcome:
    """Wait like `wait_and_show`, and give what came of it."""
    outcome = _wait(place, job, builder, json=json).outcome
    assert outcome is not None
    return outcome


def _wait(place: LabPlace, job: Sha256, builder: str | None, *, json: bool) -> JobState:
    from keyturn.wiring.custody.run_command import await_step

    try:
        with progress_of(json=json) as on_progress:
            return await_step(place, job, on_progress, builder=builder)
    except KeyboardInterrupt:
        output.warn(
            f"stp-{job[:32]} goes on at the builder: nobody waits for it now\n  next: keyturn step wait stp-{job[:32]}",
            json=json,
        )
        raise


@contextmanager
def progress_of(*, json: bool) -> Iterator[OnProgress]:
    """Say on a terminal what a run does now."""
    if json:
        yield lambda what, done, total: None
        return
    with output.console(stderr=True).status("starting") as status:
        yield lambda what, done, total: status.update(
            output.plain(f"{what} {done * 100 // total} %" if total else what)
        )


def emit_outcome(step: str, outcome: Outcome, *, json: bool) -> None:
    """Show what came of a step."""
    output.emit(
        {
            "step": step,
            "destination": outcome.destination,
            "outputs": outcome.outputs,
            "provenance": f"prv-{outcome.provenance[:32]}",
            "test_result": None if outcome.test_result is None else f"tst-{outcome.test_result[:32]}",
            "passed": outcome.passed,
            "undeclared": outcome.undeclared,
            "unread": outcome.unread,
        },
        json=json,
        human=lambda console: _show(console, step, outcome),
    )


def show_request(request: StepRequest, destination: Path, *, json: bool) -> None:
    """Show the whole request on standard error, before it is signed."""
    where = f"builder {request.builder}" if request.builder else "this machine, with NO sandbox, signed by you"
    lines = [f"step {request.step} ({request.build}) on {where}", f"  command   {' '.join(request.command)}"]
    lines += [f"  {i.role:9} {i.name}  {i.digest}  checked: {i.check}" for i in request.inputs]
    lines += [f"  runtime   {path}" for path in request.runtime]
    lines.append(f"  network   {', '.join(request.network) or 'none'}")
    if request.devices:
        lines.append(f"  devices   {', '.join(request.devices)}")
    if request.criteria is not None:
        lines.append(f"  criteria  crt-{request.criteria[:32]}")
    lines.append(f"  outputs   {', '.join(request.outputs)} to {destination}, within {request.timeout_s} s")
    output.warn("\n".join(lines), json=json)


def _show(screen: Console, step: str, outcome: Outcome) -> None:
    screen.print(f"step {output.plain(step)} is done: {output.plain(outcome.destination)}")
    for name, digest in outcome.outputs.items():
        screen.print(output.plain(f"  {name}  {digest}"))
    screen.print(f"  provenance  prv-{outcome.provenance[:32]}")
    for path in outcome.undeclared or ():
        screen.print(output.plain(f"  UNDECLARED  {path} was opened, and is no input, runtime or output"))
    for name in outcome.unread or ():
        screen.print(output.plain(f"  unread      {name} is declared, and nothing of it was opened"))
    if outcome.test_result is not None:
        screen.print(f"  evaluation {'PASSED' if outcome.passed else 'FAILED'}  tst-{outcome.test_result[:32]}")
