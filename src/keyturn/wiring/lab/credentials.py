"""Say what a lab's service is shown by whoever runs this process: the login and the certificate that his home keeps for it."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from keyturn.adapters.clock import SystemClock
from keyturn.adapters.login.client_certificate import CertificateFile
from keyturn.adapters.login.login_files import LoginFile
from keyturn.config import person as person_config

__all__ = ["HomeCredentials", "credentials_for", "is_logged_in"]


class HomeCredentials:
    """`http_client.Credentials`: what the home at `home` keeps for the service at `url`."""

    def __init__(self, home: Path, url: str) -> None:
        self._login = LoginFile(home, url, clock=SystemClock())
        self._certificate = CertificateFile(home, url, clock=SystemClock())

    @property
    def kept(self) -> bool:
        """Whether there is anything to show, good or not."""
        return self._login.path.exists() or self._certificate.path.exists()

    def token(self) -> str | None:
        return self._login.token()

    def certificate(self) -> ssl.SSLContext | None:
        return self._certificate.context()


def credentials_for(url: str) -> HomeCredentials:
    """What the service at `url` is shown: by the home of whoever runs this process."""
    return HomeCredentials(person_config.home_of(os.environ).path, url)


def is_logged_in(url: str) -> bool:
    """Whether the home of whoever runs this process keeps a login for the service at `url`."""
    return credentials_for(url).kept
