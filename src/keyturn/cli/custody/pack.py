"""`keyturn pack`: get the pack of a release from its gate, and show what a pack holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keyturn.cli import output
from keyturn.cli.completion import offer_names
from keyturn.cli.names import Request
from keyturn.cli.options import Json, Lab

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["app"]

app = typer.Typer(
    help="Packs: everything that an outsider needs to verify a released model offline.", no_args_is_help=True
)


@app.command()
def make(
    request: Request,
    out: Annotated[Path, typer.Option(help="Where the pack goes.")] = Path("model.pack"),
    gate: Annotated[
        str, typer.Option(help="The release gate's name.", autocompletion=offer_names("gates"))
    ] = "release",
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Have the gate release under an approved request, or give its pack again, and write the pack once it verifies."""
    from keyturn.wiring.custody.release import release_by_gate
    from keyturn.wiring.lab.places import find_lab

    verified, written = release_by_gate(find_lab(lab), request=request, gate=gate, path=None, out=out, again=True)
    output.emit(
        {"pack": str(written), "model": str(verified.model)},
        json=json,
        human=lambda screen: screen.print(f"{written}: {verified.model}"),
    )


@app.command()
def show(
    pack: Annotated[Path, typer.Argument(metavar="PACK", help="The pack.", show_default=False)],
    root: Annotated[Path, typer.Option(help="The lab's first root, got by another way.", show_default=False)],
    json: Json = False,
) -> None:
    """Show what a pack holds and proves, and every failure; refused ones are shown too, and say so."""
    from keyturn.cli.custody import verify as shown
    from keyturn.wiring.custody.release import examine_file

    verdict = examine_file(pack, root)

    def draw(screen: Console) -> None:
        screen.print("NOT VERIFIED" if verdict.failures else "VERIFIED")
        for code, message in verdict.failures:
            screen.print(output.plain(f"  FAILURE    {message} [{code}]"))
        shown.show(screen, verdict)

    output.emit({"verified": not verdict.failures, **shown.as_json(verdict)}, json=json, human=draw)
    if verdict.failures:
        raise typer.Exit(1)
