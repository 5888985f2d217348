"""`keyturn step`: what helps to write a STEP.toml."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keyturn.cli import output
from keyturn.cli.options import Json

__all__ = ["app"]

app = typer.Typer(help="Write and check a STEP.toml.", no_args_is_help=True)


@app.command()
def digest(
    path: Annotated[Path, typer.Argument(help="A directory or file.", show_default=False)],
    manifest: Annotated[Path | None, typer.Option(help="Write the whole manifest to this new file.")] = None,
    json: Json = False,
) -> None:
    """Print the digest of an artifact, as a STEP.toml and every record names it."""
    from keyturn.adapters.config_files import write_new
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
    step: Annotated[Path, typer.Argument(help="The STEP.toml.", show_default=False)],
    json: Json = False,
) -> None:
    """Check a STEP.toml, and print every input with its digest resolved; runs and signs nothing."""
    from keyturn.adapters.config_files import read_small
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
