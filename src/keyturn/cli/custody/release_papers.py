"""`keyturn release papers`: what a verified pack proves, in the formats that others read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from keyturn.cli import output
from keyturn.cli.custody.release_check import Pack
from keyturn.cli.names import this_is_there
from keyturn.cli.options import Json

__all__ = ["papers"]


def papers(
    pack: Pack,
    root: Annotated[
        Path,
        typer.Option(help="The lab's first root, which you got by another way than the pack.", show_default=False),
    ],
    out: Annotated[Path, typer.Option(help="The directory that the papers go into.")] = Path("papers"),
    model: Annotated[
        Path | None,
        typer.Option(help="The model's files, which --oms-key signs.", show_default=False, callback=this_is_there),
    ] = None,
    oms_key: Annotated[
        Path | None,
        typer.Option(
            help="An ECDSA P-256 key (PKCS#8 PEM) for an OpenSSF model signature; KEYTURN_PASSPHRASE_FILE opens it.",
            show_default=False,
        ),
    ] = None,
    oms_hash: Annotated[
        Literal["blake3", "sha256"], typer.Option(help="Which digests of the files are signed.")
    ] = "sha256",
    oms_certificates: Annotated[
        Path | None,
        typer.Option(
            help="Certificates (PEM), the key's own first: whoever trusts their root verifies the signature.",
            show_default=False,
            callback=this_is_there,
        ),
    ] = None,
    in_toto_key: Annotated[
        Path | None,
        typer.Option(
            help="A key (PKCS#8 PEM) that signs the chain as in-toto links and their layout, in in-toto/.",
            show_default=False,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Write what PACK proves as CycloneDX, SPDX and a model card, and with --oms-key sign the model's files.

    All of it is from verified evidence. Needs no network. Nothing is written over: the directory may have other files in it.
    """
    from keyturn import __version__
    from keyturn.wiring.custody.papers import write_papers

    made = write_papers(
        pack,
        root,
        out=out,
        version=__version__,
        model=model,
        oms_key=oms_key,
        oms_hash=oms_hash,
        oms_certificates=oms_certificates,
        in_toto_key=in_toto_key,
    )
    verdict = made.verified.verdict
    output.emit(
        {
            "model": str(made.verified.model),
            "resource": str(verdict.resource),
            "papers": [str(one) for one in made.written],
        },
        json=json,
        human=lambda screen: screen.print(
            output.plain(
                "\n".join(
                    [f"VERIFIED: {verdict.resource} is {made.verified.model}", *(f"  {one}" for one in made.written)]
                )
            )
        ),
    )
