"""A lab's service that answers only to who is logged in, and what its operator wrote about it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from support.openid import AUDIENCE, OpenIdProvider
from support.processes import Process, running, wait_for
from support.tls_proxy import PROXY_SECRET

__all__ = ["SCOPE", "logs_in", "serving", "tokens"]

SCOPE = "openid offline_access log"


@contextmanager
def serving(lab: Any, login: str, *words: str) -> Iterator[tuple[Process, str]]:
    """Run the service of `lab` with `login` as its login.toml; gives the process and its URL once there is a checkpoint."""
    path = lab.path / "login.toml"
    path.write_text(login)
    secret = lab.path / "proxy.secret"
    secret.write_text(f"{PROXY_SECRET}\n")
    secret.chmod(0o600)
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


def logs_in(
    environment: Mapping[str, str],
    provider: OpenIdProvider,
    url: str,
    *more: str,
    name: str | None,
    audience: str = AUDIENCE,
) -> str:
    """What `keyturn login` printed, once the person `name` has entered the code; `None` is a machine, with its secret."""
    said = ("--lab", url, "--issuer", provider.issuer, "--audience", audience, "--scope", SCOPE, *more)
    with running([sys.executable, "-m", "keyturn", "login", *said], environment=environment) as process:
        if name is not None:
            line = process.wait_for_line(" and enter ")
            page, code = re.findall(r"open (\S+) and enter ([A-Z-]+)", line)[0]
            provider.enter_code(page, code, name=name)
        assert process.wait() == 0, process.describe()
        return process.output


def _there(url: str) -> bool | None:
    return httpx.get(url).status_code == 200 or None
