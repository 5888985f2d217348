"""`keyturn step order` and `receipt`: a step whose order is a file, which a builder beside Slurm is given by a job's comment."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from keyturn.cli import output
from keyturn.cli.completion import offer_names
from keyturn.cli.custody.run import show_request
from keyturn.cli.names import a_duration, seconds
from keyturn.cli.options import Json, Key, Lab, Yes

__all__ = ["order", "receipt"]


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


def receipt(
    order: Annotated[
        Path, typer.Argument(metavar="ORDER", help="What `keyturn step order` wrote.", show_default=False)
    ],
    wait: Annotated[str, typer.Option(help="How long to wait for its provenance.", callback=a_duration)] = "1m",
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Write the receipt of an order that a builder beside Slurm ran, for `from-step:` in the next STEP.toml.

    It says what the provenance in the log says, and lies beside the outputs; run it as their owner.
    """
    from keyturn.adapters.files.config_files import read_small
    from keyturn.wiring.custody.order_receipt import ORDER_BYTES_MAX, write_receipt
    from keyturn.wiring.lab.places import find_lab

    place, raw = find_lab(lab), read_small(order, size_bytes_max=ORDER_BYTES_MAX)
    path, made = write_receipt(place, raw, within_s=seconds(wait))
    value = {
        "step": made.step,
        "request": f"stp-{made.request[:32]}",
        "provenance": f"prv-{made.provenance[:32]}",
        "outputs": made.outputs,
        "receipt": str(path),
    }
    lines = [f"{path} says what step {made.step} made, by prv-{made.provenance[:32]}"]
    lines += [f"  {name}  {digest}" for name, digest in made.outputs.items()]
    output.emit(value, json=json, human=lambda screen: screen.print(output.plain("\n".join(lines)), soft_wrap=True))
