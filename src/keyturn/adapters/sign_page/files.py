"""The signing page's static files: as this machine serves them, and as another operator does."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

__all__ = ["MEDIA_TYPES", "page_file", "pages_elsewhere"]

MEDIA_TYPES: Final = {
    "index.html": "text/html; charset=utf-8",
    "sign.js": "text/javascript; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
}
"""The files that make the page, and how they are served."""


def page_file(name: str) -> bytes:
    """One of the page's static files."""
    return files("keyturn").joinpath("web", "sign_page", name).read_bytes()


def pages_elsewhere() -> dict[str, bytes]:
    """The files for another operator's host, by name: the same script, which there may speak to the person's machine alone.

    A form that goes from https to this machine names its origin only under the referrer policy `origin`.
    """
    return {name: page_file("elsewhere.html" if name == "index.html" else name) for name in MEDIA_TYPES}
