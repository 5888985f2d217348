"""A real TLS proxy before a service: Debian's HAProxy, configured as docs/guide/login.md shows, and a CA for both sides.

authority = Authority(tmp_path / "ca")
with tls_proxy(service_url, authority, tmp_path, secret=SECRET) as url:         # https://localhost:PORT
    HTTP.request("GET", url, cert_file=authority.issue("gate"))
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from support.pages import DOCS
from support.processes import running, wait_for

__all__ = ["PROXY_SECRET", "Authority", "digest_of", "free_port", "guide_configuration", "tls_proxy"]

PROGRAM = Path("/usr/sbin/haproxy")
PROXY_SECRET = "5b" * 32


class Authority:
    """A CA; what it issues lies in `place`, certificate and key in one PEM file of mode 0600."""

    def __init__(self, place: Path, *, name: str = "the lab's CA") -> None:
        place.mkdir(parents=True)
        self._place = place
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        made = _certificate(self._name, self._name, self._key, self._key, days=7, ca=True)
        self.pem = place / "ca.pem"
        self.pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, *, host: str | None = None, days: int = 7) -> Path:
        """A certificate for `name`, good until in `days`; `host` is what a server of that name serves as."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        made = _certificate(subject, self._name, key, self._key, days=days, host=host)
        path = self._place / f"{name}.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
        path.chmod(0o600)
        return path


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    by: ec.EllipticCurvePrivateKey,
    *,
    days: int,
    host: str | None = None,
    ca: bool = False,
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=10))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if host is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
    return builder.sign(by, hashes.SHA256())


def digest_of(pem: Path) -> str:
    """The SHA-256 of the DER of the certificate in `pem`: what login.toml lists."""
    certificate = x509.load_pem_x509_certificate(pem.read_bytes())
    return hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).hexdigest()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has now, for whoever must be found at the same one again."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def guide_configuration() -> str:
    """HAProxy's configuration, as the guide has it."""
    page = (DOCS / "guide" / "login.md").read_text(encoding="utf-8")
    (found,) = re.findall(r"^```haproxy\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return str(found)


@contextmanager
def tls_proxy(
    service: str, authority: Authority, place: Path, *, configuration: str | None = None, port: int = 0
) -> Iterator[str]:
    """Run HAProxy before `service`; gives its https address. Clients' certificates are those of `authority`."""
    assert PROGRAM.is_file(), "apt-get install haproxy, as ./bootstrap --tests does"
    port = port or free_port()
    files = place / f"haproxy-{port}"
    files.mkdir()
    shutil.copy(authority.issue("server", host="localhost"), files / "server.pem")
    shutil.copy(authority.pem, files / "clients.pem")
    text = configuration if configuration is not None else guide_configuration()
    for here, there in (
        ("*:443", f"127.0.0.1:{port}"),
        ("127.0.0.1:8740", service.removeprefix("http://")),
        ("/etc/haproxy/keyturn/", f"{files}/"),
    ):
        assert here in text
        text = text.replace(here, there)
    (files / "haproxy.cfg").write_text(text)
    words: list[str | Path] = [PROGRAM, "-db", "-f", files / "haproxy.cfg"]
    with running(words, environment={"KEYTURN_PROXY_SECRET": PROXY_SECRET}) as process:
        wait_for("the proxy", lambda: _listens(port), process)
        yield f"https://localhost:{port}"


def _listens(port: int) -> bool | None:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return None
    return True
