"""Log in at a lab's service, and keep what it is shown from now on in the home. See `adapters.login.login_files`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from keyturn.adapters.clock import SystemClock
from keyturn.adapters.login.client_certificate import CertificateFile, read_certificate
from keyturn.adapters.login.device_login import log_in_by_code
from keyturn.adapters.login.login_files import KeptLogin, LoginFile, read_secret
from keyturn.adapters.login.openid_provider import is_private
from keyturn.config import person as person_config
from keyturn.errors import Usage
from keyturn.wiring.lab.places import LabPlace

__all__ = ["log_in", "show_certificate"]

_PENDING = "-"


def show_certificate(place: LabPlace, certificate_file: Path, key_file: Path | None) -> tuple[str, str]:
    """Keep which certificate the lab's service is shown from now on; give its address, and the SHA-256 that it knows it by."""
    read_certificate(certificate_file, key_file or certificate_file)
    url = (place.service_url or "").rstrip("/")
    if not url.startswith("https://"):
        raise Usage(
            "login-address",
            f"expected the https address of the lab's service, got `{url[:200]}`: a certificate is shown in TLS alone",
            hint="keyturn login --lab https://... --certificate FILE --certificate-key FILE",
        )
    file = CertificateFile(person_config.home_of(os.environ).path, url, clock=SystemClock())
    return url, file.keep(certificate_file, key_file or certificate_file)


def log_in(
    place: LabPlace,
    *,
    issuer: str | None,
    client: str | None,
    audience: str | None,
    scope: str,
    secret_file: Path | None,
    show: Callable[[str, str], None],
) -> KeptLogin:
    """Log in at the lab's service and keep it; what is not said is as at the last time.

    The issuer is never taken from the service: it could name a page of its own that asks for passwords.
    """
    if secret_file is not None:
        read_secret(secret_file)
    url = (place.service_url or "").rstrip("/")
    if not is_private(url):
        raise Usage(
            "login-address",
            f"expected the https address of the lab's service, got `{url[:200]}`: a token is sent there",
            hint="keyturn login --lab https://...",
        )
    home = person_config.home_of(os.environ).path
    file = LoginFile(home, url, clock=SystemClock())
    before = file.read()
    issuer = issuer or (before.issuer if before is not None else None)
    if issuer is None:
        raise Usage(
            "login-issuer",
            "expected --issuer: the address of your OpenID provider, which the lab's operator tells you",
            hint="keyturn login --issuer https://...",
        )
    secret = str(secret_file.absolute()) if secret_file is not None else None
    login = KeptLogin(
        version=1,
        service=url,
        issuer=issuer,
        client=client or (before.client if before is not None else "keyturn"),
        audience=audience or (before.audience if before is not None else url),
        scope=scope,
        access_token=_PENDING,
        secret_file=secret,
    )
    if secret is not None:
        login = file.by_secret(login)
    else:
        answer = log_in_by_code(issuer, client=login.client, audience=login.audience, scope=scope, show=show)
        login = file.with_tokens(login, answer)
    file.keep(login)
    return login
