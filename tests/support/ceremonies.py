"""The pages of the ceremonies, each with the pages that are run before it: what the tests of both kinds of keys share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support.pages import run_page

__all__ = ["BY_PASSKEYS", "CEREMONIES", "LAB", "run_ceremony"]

LAB = "guide/people.md"
_TEAM = "guide/ceremonies/team.md"
CEREMONIES = {
    "join": (LAB,),
    "team": (LAB,),
    "another-key": (LAB,),
    "lost-keys": (LAB, _TEAM),
    "leaver": (LAB, _TEAM),
    "two-lost-laptops": (LAB, _TEAM),
    "root-keys-lost": (LAB,),
}
BY_PASSKEYS = ("another-key", "two-lost-laptops", "root-keys-lost")
"""Those that tests run with passkeys, as people hold them in production: each takes a minute. The others take software keys."""


def run_ceremony(name: str, tmp_path: Path, **more: Any) -> str:
    """Run the page of the ceremony `name` behind the pages that it needs; what is printed."""
    return run_page(f"guide/ceremonies/{name}.md", tmp_path, after=CEREMONIES[name], timeout_s=400, **more)
