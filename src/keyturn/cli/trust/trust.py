"""`keyturn trust`: who belongs to a lab, what its policy is, and the signatures that make it so.

This module has what is published: the list of versions, and the root that a person pins. The other verbs are mounted from
`members` (who is there), `invite` (who joins), `authenticator` (whose attestations are believed), `ceremony` (what is signed),
`suspend` (who is stopped) and `void` (what nobody can read).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from keyturn.cli import output
from keyturn.cli.options import Json, Lab
from keyturn.cli.trust.authenticator import authenticator
from keyturn.cli.trust.ceremony import propose, publish, show, sign
from keyturn.cli.trust.invite import accept, invite, remove
from keyturn.cli.trust.members import members
from keyturn.cli.trust.suspend import lift, suspend, suspended
from keyturn.cli.trust.void import void

if TYPE_CHECKING:
    from rich.console import Console

    from keyturn.app.trust.trust_log import TrustLog

__all__ = ["app"]

app = typer.Typer(
    help="Members, policy and keys: propose a change, see it whole, sign it, publish it.", no_args_is_help=True
)

for verb in (
    members,
    invite,
    accept,
    remove,
    authenticator,
    propose,
    show,
    sign,
    publish,
    suspend,
    lift,
    suspended,
    void,
):
    app.command()(verb)


@app.command()
def log(lab: Lab = None, json: Json = False) -> None:
    """List every published version, verified: who signed it, when it ends."""
    from keyturn.wiring.lab.places import find_lab
    from keyturn.wiring.log.pinned_log import trust_log_of

    found, pinned = trust_log_of(find_lab(lab))
    output.emit(
        {
            "lab": found.lab,
            "profile": found.profile,
            "root_sha256": found.root_sha256,
            "pinned": pinned,
            "versions": [
                {
                    "role": link.role,
                    "version": link.version,
                    "sha256": link.digest,
                    "signed_by": sorted(link.signers),
                    "expires_at": link.expires_at,
                }
                for link in found.links
            ],
            "warnings": found.warnings,
        },
        json=json,
        human=lambda screen: _log(screen, found, pinned=pinned),
    )
    if not json:
        for warning in found.warnings:
            output.warn(f"warning: {warning}", json=json)


@app.command()
def pin(
    sha256: Annotated[
        str, typer.Argument(metavar="SHA256", help="The SHA-256 of the lab's first root, as a coworker read it to you.")
    ],
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Pin the lab's first root, whose SHA-256 you compared with a coworker by another way than this machine."""
    from keyturn.wiring.lab.places import find_lab
    from keyturn.wiring.log.pinned_log import pin_root
    from keyturn.wiring.typed import root_digest

    sha256 = root_digest("SHA256", sha256)
    name = pin_root(find_lab(lab), sha256)
    output.emit(
        {"lab": name, "root_sha256": sha256},
        json=json,
        human=lambda screen: screen.print(f"pinned {sha256} for {name}"),
    )


def _log(screen: Console, found: TrustLog, *, pinned: bool) -> None:
    from keyturn.formats.posix_time import rfc3339

    screen.print(f"{found.lab}, profile {found.profile}")
    screen.print(f"first root: sha256 {found.root_sha256} ({'pinned by you' if pinned else 'NOT PINNED by you'})")
    cells = [
        (
            f"{link.role} {link.version}",
            rfc3339(link.expires_at)[:10],
            link.digest[:16],
            ", ".join(sorted(link.signers)),
        )
        for link in found.links
    ]
    output.rows(screen, ("version", "until", "sha256", "signed by"), cells)
