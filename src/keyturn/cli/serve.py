"""`keyturn serve`: run the lab's service, which people, gates and builders write to and read from, until told to stop."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keyturn.cli.options import Lab, LogJson

__all__ = ["serve"]


def serve(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one.")] = 0,
    quota: Annotated[int, typer.Option(min=1, help="Records that one signer may append in an hour.")] = 2000,
    log_json: LogJson = False,
    rate: Annotated[
        int,
        typer.Option(
            min=1, max=1_000_000, help="Writes that one address may make in a second; it reads at 10 times that."
        ),
    ] = 200,
    behind_proxy: Annotated[
        bool,
        typer.Option(
            "--behind-proxy",
            help="A proxy on this machine says in X-Forwarded-For which address asks, and in Client-Cert with which certificate.",
        ),
    ] = False,
    login: Annotated[
        Path | None, typer.Option(help="login.toml: who may read and write at all. Without it, everybody.")
    ] = None,
    lab: Lab = None,
) -> None:
    """Serve the lab: take records in, have them witnessed, and give them to people, gates and builders.

    It is a mailbox: nobody believes it, and whoever takes it over opens nothing.
    """
    from keyturn.adapters import process_log
    from keyturn.app.records.quotas import Quotas
    from keyturn.service.lab_service import serve_lab
    from keyturn.service.login import read_login
    from keyturn.service.rates import Rates
    from keyturn.wiring.places import find_lab

    process_log.begin("service", log_json=log_json)
    rates = Rates(writes=rate, reads=10 * rate)
    serve_lab(
        find_lab(lab).directory,
        port=port,
        quotas=Quotas(records=quota),
        rates=rates,
        behind_proxy=behind_proxy,
        login=read_login(login, behind_proxy=behind_proxy) if login is not None else None,
    )
