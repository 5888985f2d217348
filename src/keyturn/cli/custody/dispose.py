"""`keyturn dispose PATH`: delete the bytes of an artifact, after everybody can know that they go."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keyturn.cli import output
from keyturn.cli.options import Json, Key, Lab, Reason, Yes

__all__ = ["dispose"]


def dispose(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="The artifact: a directory or file.", show_default=False)
    ],
    reason: Reason,
    expected: Annotated[
        str | None,
        typer.Option(
            "--digest", help="What it must be. Default: whatever lies there, which you are shown.", show_default=False
        ),
    ] = None,
    under: Annotated[
        str | None,
        typer.Option("--under", metavar="REQUEST", help="The request by which people granted it.", show_default=False),
    ] = None,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Though a step that runs takes it, or a release that stands is of it.")
    ] = False,
    key: Key = None,
    yes: Yes = False,
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Delete the files of an artifact: a disposal is logged and witnessed first. What was made of them still verifies.

    After a crash, type the same again: it goes on under the same record.
    """
    from keyturn.wiring.custody.dispose import dispose as carry_out
    from keyturn.wiring.custody.dispose import prepare, unfinished

    if (finished := unfinished(lab, path)) is not None:
        output.emit(
            {"id": finished, "path": str(path), "finished": True},
            json=json,
            human=lambda screen: screen.print(output.plain(f"{path} is gone: {finished} had begun, and is finished")),
        )
        return
    with output.hashing(path, json=json) as on_bytes:
        going = prepare(lab, path, expected=expected, under=under, anyway=anyway, progress=on_bytes)
    said = [
        f"dispose of {going.digest}",
        f"  at   {going.place}",
        f"  why  {reason}",
        f"  {len(going.seen)} files go for good",
    ]
    output.warn("\n".join(said), json=json)
    output.confirm("Sign this, log it, and delete them?", yes=yes)
    logged = carry_out(lab, going, key=key, reason=reason)
    output.emit(
        {"id": logged.id, "digest": str(going.digest), "path": str(path), "index": logged.index},
        json=json,
        human=lambda screen: screen.print(
            output.plain(f"{path} is gone: {logged.id}, entry {logged.index}\n  {going.digest}"), soft_wrap=True
        ),
    )
