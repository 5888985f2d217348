"""Options of a lab's service: `keyturn serve` takes them, and `keyturn up` hands them on to the service that it starts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

__all__ = ["QUOTA", "RATE", "BehindProxy", "LoginFile", "Quota", "Rate", "ServicePort", "as_words"]

QUOTA: Final = 2000
RATE: Final = 200

ServicePort = Annotated[
    int, typer.Option("--port", min=0, max=65535, help="Port of the service on 127.0.0.1; 0 takes a free one.")
]

Quota = Annotated[int, typer.Option("--quota", min=1, help="Records that one signer may append in an hour.")]

Rate = Annotated[
    int,
    typer.Option(
        "--rate",
        min=1,
        max=1_000_000,
        help="Writes that one address may make in a second; it reads at 10 times that.",
    ),
]

BehindProxy = Annotated[
    bool,
    typer.Option(
        "--behind-proxy",
        help="A proxy on this machine says in X-Forwarded-For which address asks, and in Client-Cert with which certificate.",
    ),
]

LoginFile = Annotated[
    Path | None,
    typer.Option("--login", help="login.toml: who may read and write at all. Without it, everybody."),
]


def as_words(*, port: int, quota: int, rate: int, behind_proxy: bool, login: Path | None) -> tuple[str, ...]:
    """What of these is not as `keyturn serve` has it by itself, as its arguments."""
    return (
        *(("--port", str(port)) if port else ()),
        *(("--quota", str(quota)) if quota != QUOTA else ()),
        *(("--rate", str(rate)) if rate != RATE else ()),
        *(("--behind-proxy",) if behind_proxy else ()),
        *(("--login", str(login.absolute())) if login is not None else ()),
    )
