"""`keyturn trust authenticator`: which makers' attestations of keys the lab believes. Mounted under `trust` by its module."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keyturn.cli import output
from keyturn.cli.options import Json, Lab

if TYPE_CHECKING:
    from keyturn.trust.attestation import Authenticator

__all__ = ["authenticator"]


def authenticator(
    aaguid: Annotated[
        str, typer.Argument(metavar="AAGUID", help="The authenticator's model: 32 hex digits, with or without dashes.")
    ],
    root: Annotated[
        list[Path] | None,
        typer.Option(help="A root certificate of its maker, PEM or DER. Repeat for more.", show_default=False),
    ] = None,
    name: Annotated[str, typer.Option(help="What people call it. Default: what FIDO's metadata calls it.")] = "",
    metadata: Annotated[
        Path | None,
        typer.Option(help="Take its roots from FIDO's metadata: the file that FIDO publishes.", show_default=False),
    ] = None,
    metadata_root: Annotated[
        Path | None,
        typer.Option(help="The certificate under which FIDO signs it, PEM or DER.", show_default=False),
    ] = None,
    required: Annotated[
        bool | None,
        typer.Option(
            "--required/--not-required",
            help="Whether every key that verifies its user must be attested. Default: as the draft says; at first, no.",
        ),
    ] = None,
    lab: Lab = None,
    json: Json = False,
) -> None:
    """List an authenticator in the draft: keys that it holds are enrolled when their attestation leads to a root of its maker."""
    import re
    from dataclasses import replace

    from keyturn.app.trust.list_authenticator import list_authenticator
    from keyturn.errors import Usage
    from keyturn.wiring.lab.places import find_lab
    from keyturn.wiring.trust.trust import trust_store

    if (not root) == (metadata is None) or (metadata is None) != (metadata_root is None):
        raise Usage(
            "option-missing",
            "expected --root FILE, or --metadata FILE with --metadata-root FILE",
            hint="keyturn trust authenticator 2fc0579f811347eab116bb5a8db9202a --root yubico.pem --name 'YubiKey 5'",
        )
    model = aaguid.replace("-", "").lower()
    if re.fullmatch(r"[0-9a-f]{32}", model) is None:
        raise Usage("option-invalid", f"AAGUID: expected 32 hex digits, got `{aaguid[:80]}`")
    place = find_lab(lab)
    found = _found(model, root or (), metadata, metadata_root)
    found = replace(found, name=name or found.name or found.aaguid)
    rules = list_authenticator(found, required=required, store=trust_store(place.directory))
    output.emit(
        {
            "aaguid": found.aaguid,
            "name": found.name,
            "roots": sorted(found.root_digests),
            "required": rules.required,
            "authenticators": sorted(rules.authenticators),
        },
        json=json,
        human=lambda screen: screen.print(
            output.plain(
                f"{found.name}: in the draft, with {len(found.roots)} root(s): {', '.join(sorted(found.root_digests))}\n"
                f"compare them with what its maker publishes\nnext: keyturn trust propose, sign, publish"
            )
        ),
    )


def _found(
    aaguid: str, roots: list[Path] | tuple[()], metadata: Path | None, metadata_root: Path | None
) -> Authenticator:
    from keyturn.adapters.clock import SystemClock
    from keyturn.adapters.files.config_files import read_small
    from keyturn.adapters.keys.fido_metadata import authenticator_of, read_root
    from keyturn.formats.fido_metadata import SIZE_BYTES_MAX
    from keyturn.trust.attestation import Authenticator

    if metadata is not None and metadata_root is not None:
        raw = read_small(metadata, size_bytes_max=SIZE_BYTES_MAX)
        return authenticator_of(raw, aaguid, root=read_root(read_small(metadata_root)), now=SystemClock().now())
    return Authenticator(aaguid, "", tuple(read_root(read_small(path)) for path in roots))
