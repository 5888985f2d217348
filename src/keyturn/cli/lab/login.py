"""`keyturn login`: log in at the OpenID provider of a lab whose service asks for it. It stands for no key, and signs nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from keyturn.cli import output
from keyturn.cli.options import Json, Lab

__all__ = ["login"]


def login(
    issuer: Annotated[
        str | None, typer.Option(help="Address of the OpenID provider. Default: as last time.", show_default=False)
    ] = None,
    client: Annotated[
        str | None,
        typer.Option(help="What Keyturn is called there. Default: as last time, or keyturn.", show_default=False),
    ] = None,
    audience: Annotated[
        str | None,
        typer.Option(
            help="What the service is called there. Default: as last time, or its address.", show_default=False
        ),
    ] = None,
    scope: Annotated[str, typer.Option(help="What is asked for.")] = "openid offline_access",
    secret_file: Annotated[
        Path | None,
        typer.Option(help="For gates and builders: a file of mode 0600 with the client's secret.", show_default=False),
    ] = None,
    certificate: Annotated[
        Path | None,
        typer.Option(help="Instead: a TLS client certificate to show from now on, in PEM.", show_default=False),
    ] = None,
    certificate_key: Annotated[
        Path | None,
        typer.Option(
            help="The certificate's key, in a file of mode 0600. Default: in the same file.", show_default=False
        ),
    ] = None,
    lab: Lab = None,
    json: Json = False,
) -> None:
    """Log in at the lab's service, where it asks for that: by a code typed at your provider's page, or by a certificate.

    The login is kept in your home, and sent to that service alone. What you approve is signed by your keys, as ever.
    """
    from keyturn.errors import Usage
    from keyturn.wiring.lab.login import log_in, show_certificate
    from keyturn.wiring.lab.places import find_lab

    if certificate is not None or certificate_key is not None:
        if certificate is None or (issuer, client, audience, secret_file) != (None, None, None, None):
            raise Usage(
                "login-two-ways",
                "expected --certificate with --certificate-key or alone, and nothing that is a provider's",
                hint="keyturn login --certificate FILE --certificate-key FILE; a second login may come beside it: keyturn login",
            )
        service, digest = show_certificate(find_lab(lab), certificate, certificate_key)
        output.emit(
            {"service": service, "certificate_sha256": digest},
            json=json,
            human=lambda screen: screen.print(output.plain(f"{service} is shown the certificate {digest}")),
        )
        return

    def show(page: str, code: str) -> None:
        output.warn(f"open {page} and enter {code}", json=json)

    kept = log_in(
        find_lab(lab), issuer=issuer, client=client, audience=audience, scope=scope, secret_file=secret_file, show=show
    )
    until = None if kept.expires_at is None else datetime.fromtimestamp(kept.expires_at, UTC).isoformat()
    renewed = kept.refresh_token is not None or kept.secret_file is not None
    said = {"service": kept.service, "issuer": kept.issuer, "until": until, "renewed": renewed}
    human = f"logged in at {kept.service}" + ("" if renewed or until is None else f" until {until}")
    output.emit(said, json=json, human=lambda screen: screen.print(output.plain(human)))
