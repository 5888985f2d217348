"""Compare a signing page that another operator serves with the one that this version of Keyturn ships.

Whoever serves the page could show one thing and have another signed. Everybody can look, from anywhere: the page is
public, and its files are the same for everybody.

This is NOT proof of what a browser got another time: an operator can single somebody out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from keyturn.errors import Tampered
from keyturn.formats.digest import Sha256, sha256

__all__ = ["CheckedPage", "check_page"]


@dataclass(frozen=True, slots=True)
class CheckedPage:
    """A page that is the one that is shipped: its files, each with its SHA-256."""

    origin: str
    files: Mapping[str, Sha256]


def check_page(origin: str, shipped: Mapping[str, bytes], fetch: Callable[[str], bytes]) -> CheckedPage:
    """Fetch each of the `shipped` files by its path at `origin`; `Tampered` for one that differs."""
    for name, expected in shipped.items():
        found = fetch("/" if name == "index.html" else f"/{name}")
        if found != expected:
            raise Tampered(
                "signing-page-other",
                f"`{origin}`: expected `{name}` with SHA-256 {sha256(expected)[:16]}, got {sha256(found)[:16]}",
                hint="sign nothing there, and ask its operator; `keyturn sign-page export` has this version's files",
            )
    return CheckedPage(origin, {name: sha256(content) for name, content in shipped.items()})
