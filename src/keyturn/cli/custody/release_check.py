"""`keyturn release check`: whether a serving host may load a model now; `carry`: what it asks, for one without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keyturn.cli import output
from keyturn.cli.names import a_duration, seconds, this_is_there
from keyturn.cli.options import Fast, Json, Lab

__all__ = ["carry", "check"]

_ROOT = typer.Option(help="The lab's first root, which you got by another way than the pack.", show_default=False)
Pack = Annotated[Path, typer.Argument(metavar="PACK", help="The release's pack.", show_default=False)]


def check(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="The model's files, or their dirHash:...", show_default=False)
    ],
    pack: Annotated[Path, typer.Option(help="The pack of the model.", show_default=False)],
    root: Annotated[Path, _ROOT],
    log: Annotated[
        Path | None,
        typer.Option(
            help="A part of the log that was carried here (keyturn release carry), in place of --lab.",
            show_default=False,
            callback=this_is_there,
        ),
    ] = None,
    age: Annotated[
        str,
        typer.Option(help="How old the witnesses' newest word may be; at most an hour.", callback=a_duration),
    ] = "1h",
    fast: Fast = False,
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Say whether MODEL may be loaded now: released, these very files, and not withdrawn since, as the witnesses' log says.

    Exits with 0 for yes, with 1 when it was withdrawn or does not verify, and with 3 (`release-state-unknown`) when the log did
    not say so in time: that is never a yes.
    """
    from keyturn.formats.posix_time import rfc3339
    from keyturn.wiring.custody.deployments import check as check_now
    from keyturn.wiring.custody.deployments import log_at

    with log_at(lab, log) as reader, output.hashing(model, json=json) as on_bytes:
        verified, checked, _ = check_now(
            model,
            pack=pack,
            root=root,
            pinned_sha256=None,
            log=reader,
            age_max_s=seconds(age),
            fast=fast,
            progress=on_bytes,
        )
    verdict = verified.verdict
    output.emit(
        {
            "released": True,
            "model": str(verified.model),
            "resource": str(verdict.resource),
            "lab": verdict.lab,
            "profile": verdict.profile,
            "not_withdrawn_as_of": checked.as_of,
            "log_size": checked.log_size,
            "cosigners": checked.cosigners,
        },
        json=json,
        human=lambda screen: screen.print(
            output.plain(
                f"RELEASED, and not withdrawn as of {rfc3339(checked.as_of)}: {verdict.resource}\n"
                f"  model      {verified.model}\n"
                f"  lab        {verdict.lab}, profile {verdict.profile}, root {verdict.root_sha256}\n"
                f"  log        {checked.log_size} entries, cosigned by {', '.join(checked.cosigners)}"
            )
        ),
    )


def carry(
    pack: Pack,
    root: Annotated[Path, _ROOT],
    out: Annotated[Path, typer.Option(help="Where the part of the log goes.")] = Path("release.log-part"),
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Write the part of the log that `keyturn release check --log` needs for PACK, for a host that does not reach the log."""
    from keyturn.wiring.custody.deployments import carry as carry_now
    from keyturn.wiring.custody.deployments import log_at

    with log_at(lab, None) as reader:
        size = carry_now(pack=pack, root=root, log=reader, out=out)
    output.emit(
        {"part": str(out), "log_size": size},
        json=json,
        human=lambda screen: screen.print(
            output.plain(
                f"{out}: the log up to {size} entries\nnext: keyturn release check MODEL --log {out} --pack {pack} --root ROOT"
            )
        ),
    )
