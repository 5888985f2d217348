"""`keyturn sign-page`: the page at which passkeys sign, for an operator who is not the log's.

On their own machine nobody types this: a command that needs a passkey serves the page itself, for as long as it needs it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keyturn.cli import output
from keyturn.cli.options import Json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

__all__ = ["app"]

app = typer.Typer(help="The page at which passkeys sign, as another operator serves it.", no_args_is_help=True)


@app.command()
def export(
    directory: Annotated[Path, typer.Argument(metavar="DIRECTORY", help="Where to write the static files.")],
    json: Json = False,
) -> None:
    """Write the page as static files, for an HTTPS host of an operator who does not run the log."""
    from keyturn.adapters.files.config_files import write_new
    from keyturn.adapters.sign_page.files import pages_elsewhere
    from keyturn.formats.digest import sha256

    digests = {}
    for name, content in pages_elsewhere().items():
        write_new(directory / name, content)
        digests[str(directory / name)] = sha256(content)
    output.emit({"files": digests}, json=json, human=lambda screen: _exported(screen, digests))


@app.command()
def check(
    origin: Annotated[str, typer.Argument(metavar="ORIGIN", help="The page's origin, as `https://sign.example`.")],
    json: Json = False,
) -> None:
    """Compare a page that somebody serves with this version's, byte for byte."""
    from keyturn.adapters.over_http.http_client import HttpClient
    from keyturn.adapters.sign_page.files import pages_elsewhere
    from keyturn.app.trust.check_page import check_page
    from keyturn.errors import Unavailable
    from keyturn.wiring.typed import page_origin

    origin = page_origin("ORIGIN", origin)
    try:
        found = check_page(origin, pages_elsewhere(), HttpClient(origin).get)
    except Unavailable as err:
        hint = "ask whoever serves the page, and sign nothing there meanwhile"
        raise Unavailable(err.code, err.message, hint=hint, detail=err.detail) from err
    output.emit(found, json=json, human=lambda screen: _listed(screen, found.files))


def _exported(screen: Console, digests: Mapping[str, str]) -> None:
    _listed(screen, digests)
    screen.print(
        "Serve them over HTTPS at the root of an origin of their own, with the header\n"
        "  Content-Security-Policy: frame-ancestors 'none'\n"
        "and pin that origin in the draft's roster.toml:\n"
        '  [[signing]]\n  origin = "https://sign.example"\n  rp_id = "sign.example"\n  operator = "who-serves-it"\n'
        "Everybody can compare: keyturn sign-page check https://sign.example"
    )


def _listed(screen: Console, digests: Mapping[str, str]) -> None:
    output.rows(screen, ("file", "sha256"), list(digests.items()))
