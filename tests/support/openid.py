"""A real OpenID provider: npm's oidc-provider, installed by its lock file and run on this machine.

    with running_provider() as provider:
        token = provider.machine_token("gate", AUDIENCE)
        provider.enter_code("https://.../device", "ABCD-EFGH", name="ada")      # as a person does in a browser

What is installed lies in the user's cache (KEYTURN_TEST_CACHE says another place), once for each lock file.
"""

from __future__ import annotations

import fcntl
import hashlib
import html
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from support.processes import Process, running

__all__ = ["AUDIENCE", "OpenIdProvider", "running_provider"]

AUDIENCE = "https://keyturn.acme.example"
_SOURCE = Path(__file__).parent / "oidc_provider"
_FILES = ("package.json", "package-lock.json", "provider.mjs")


@dataclass
class OpenIdProvider:
    """A provider that runs at `issuer`."""

    issuer: str
    process: Process

    def machine_token(self, client: str, audience: str = AUDIENCE) -> str:
        """The token of a machine's `client`, by its secret."""
        form = {"grant_type": "client_credentials", "client_id": client, "client_secret": f"{client}-secret"}
        answer = httpx.post(f"{self.issuer}/token", data=form | {"resource": audience, "scope": "log"})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    def person_tokens(self, name: str, audience: str = AUDIENCE) -> dict[str, str]:
        """The tokens of the person `name`, who enters a code as one does."""
        form = {"client_id": "keyturn", "resource": audience, "scope": "openid offline_access log"}
        asked = httpx.post(f"{self.issuer}/device/auth", data=form).json()
        self.enter_code(asked["verification_uri"], asked["user_code"], name=name)
        grant = {"grant_type": "urn:ietf:params:oauth:grant-type:device_code", "device_code": asked["device_code"]}
        answer = httpx.post(f"{self.issuer}/token", data=grant | {"client_id": "keyturn"})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def enter_code(self, page: str, code: str, *, name: str) -> None:
        """Do at the provider's pages what a person does there: enter the code, confirm, log in as `name`, consent."""
        with httpx.Client(follow_redirects=True, timeout=20) as browser:
            at = browser.get(page)
            for _ in range(6):
                form = re.search(r"<form[^>]*action=\"([^\"]+)\"[^>]*>(.*?)</form>", at.text, re.DOTALL)
                if form is None:
                    break
                fields = {
                    html.unescape(field): html.unescape(
                        value[0] if (value := re.findall(r'value="([^"]*)"', tag)) else ""
                    )
                    for tag, field in re.findall(r"(<input[^>]*name=\"([^\"]+)\"[^>]*>)", form[2])
                }
                typed = {"user_code": code, "login": name, "password": "any"}
                fields |= {field: typed[field] for field in fields if field in typed}
                at = browser.post(html.unescape(form[1]), data=fields)
            assert at.status_code == 200, at.text
            assert "Sign-in Success" in at.text, at.text[-2000:]


@contextmanager
def running_provider(*, port: int = 0) -> Iterator[OpenIdProvider]:
    """Run a provider, with keys of its own, for as long as the block runs."""
    with running(["node", _installed() / "provider.mjs", str(port)]) as process:
        yield OpenIdProvider(process.wait_for_line("issuer http").split()[1], process)


def _installed() -> Path:
    """Where the provider is installed; installs it first where it is not."""
    named = os.environ.get("KEYTURN_TEST_CACHE")
    cache = Path(named) if named else Path.home() / ".cache" / "keyturn-tests"
    content = b"".join((_SOURCE / name).read_bytes() for name in _FILES)
    place = cache / f"oidc-provider-{hashlib.sha256(content).hexdigest()[:16]}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "oidc-provider.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "installed").exists():
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            for name in _FILES:
                shutil.copy(_SOURCE / name, place)
            words = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            done = subprocess.run(words, cwd=place, capture_output=True, text=True, timeout=150, check=False)
            assert done.returncode == 0, f"expected npm to install the provider (./bootstrap --tests):\n{done.stderr}"
            (place / "installed").touch()
    return place
