"""`keyturn run STEP.toml`: have the lab's builder run one step under custody."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keyturn.cli import output
from keyturn.cli.options import Json, Lab, Yes

if TYPE_CHECKING:
    from rich.console import Console

    from keyturn.adapters.builder_over_http import Outcome
    from keyturn.formats.steps import StepRequest

__all__ = ["run"]


def run(
    step: Annotated[Path, typer.Argument(help="The STEP.toml.", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="Where the outputs go. Default: out/ beside it.")] = None,
    criteria: Annotated[
        str | None, typer.Option(help="For an evaluation: the criteria that were logged before.")
    ] = None,
    builder: Annotated[str | None, typer.Option(help="Which builder of the lab. Default: the only one.")] = None,
    no_sandbox: Annotated[
        bool, typer.Option("--no-sandbox", help="Run it here, as you, and sign it as you: nothing confines it.")
    ] = False,
    yes: Yes = False,
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Run a step: inputs are checked, the sandbox holds nothing else, outputs are digested, provenance is logged."""
    from keyturn.wiring.places import find_lab
    from keyturn.wiring.run_command import prepare, run_here, run_on_builder

    place = find_lab(lab)
    prepared = prepare(place, step, out=out, criteria=criteria, builder=builder, sandboxed=not no_sandbox)
    _show_request(prepared.request, prepared.destination, json=json)
    output.confirm("Sign and run this?", yes=yes)
    screen = output.console(stderr=True)
    with screen.status("starting") as status:

        def on_progress(what: str, done: int, total: int) -> None:
            status.update(output.plain(f"{what} {done * 100 // total} %" if total else what))

        outcome = (run_here if no_sandbox else run_on_builder)(place, prepared, on_progress)
    output.emit(
        {
            "step": prepared.request.step,
            "destination": outcome.destination,
            "outputs": outcome.outputs,
            "provenance": f"prv-{outcome.provenance[:32]}",
            "test_result": None if outcome.test_result is None else f"tst-{outcome.test_result[:32]}",
            "passed": outcome.passed,
        },
        json=json,
        human=lambda console: _show(console, prepared.request, outcome),
    )


def _show_request(request: StepRequest, destination: Path, *, json: bool) -> None:
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


def _show(screen: Console, request: StepRequest, outcome: Outcome) -> None:
    screen.print(f"step {request.step} is done: {output.plain(outcome.destination)}")
    for name, digest in outcome.outputs.items():
        screen.print(output.plain(f"  {name}  {digest}"))
    screen.print(f"  provenance  prv-{outcome.provenance[:32]}")
    if outcome.test_result is not None:
        screen.print(f"  evaluation {'PASSED' if outcome.passed else 'FAILED'}  tst-{outcome.test_result[:32]}")
