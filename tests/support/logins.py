"""A lab's service that answers only to who is logged in, and what its operator wrote about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from support.openid import AUDIENCE, OpenIdProvider
from support.processes import Process, wait_for

__all__ = ["serving", "tokens"]


@contextmanager
def serving(lab: Any, login: str, *words: str) -> Iterator[tuple[Process, str]]:
    """Run the service of `lab` with `login` as its login.toml; gives the process and its URL once there is a checkpoint."""
    path = lab.path / "login.toml"
    path.write_text(login)
    with lab.witness(), lab.serving("serve", "--login", str(path), *words, name="service") as (process, url):
        wait_for("a checkpoint", lambda: _there(f"{url}/checkpoint"))
        yield process, url


def tokens(provider: OpenIdProvider, *, skew_s: int = 60) -> str:
    """A login.toml that believes access tokens of `provider`."""
    return f"""
version = 1
[tokens]
issuer = "{provider.issuer}"
audience = "{AUDIENCE}"
algorithms = ["ES256"]
clock_skew_s = {skew_s}
member_claim = "email"
[tokens.members]
"ada@acme.example" = "ada"
"""


def _there(url: str) -> bool | None:
    return httpx.get(url).status_code == 200 or None
