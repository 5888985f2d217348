"""What `keyturn login --certificate` keeps for a service: which TLS client certificate this home shows it, and the key's file.

    <home>/logins/<begin of the SHA-256 of the service's URL>.certificate.json        mode 0600

Only the files' names are kept. They are read again when one of them changes, so a renewed certificate is shown from the next
exchange on. The key's file is refused when others can read it. A certificate is shown to the service at that very URL, and signs
nothing but the TLS handshake.
"""

from __future__ import annotations

import ssl
import threading
from datetime import UTC, datetime
from hashlib import sha256 as sha256_of
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from msgspec import Meta

from keyturn.adapters.files.config_files import read_small, replace_file
from keyturn.adapters.login.login_files import read_private
from keyturn.errors import Malformed, Refused, Unavailable
from keyturn.formats.built import built
from keyturn.formats.digest import sha256
from keyturn.ports import Clock

__all__ = ["CertificateFile", "KeptCertificate", "parse", "read_certificate"]

_AGAIN = "keyturn login --certificate FILE --certificate-key FILE"
_Text = Annotated[str, Meta(min_length=1, max_length=4096)]
_State = tuple[tuple[int, int, int], ...]


class KeptCertificate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The certificate that is shown to `service`: files in PEM, the certificate's with its chain."""

    version: Literal[1]
    service: _Text
    certificate_file: _Text
    key_file: _Text


def parse(raw: bytes) -> KeptCertificate:
    """Parse what is kept, or raise `Malformed`."""
    try:
        return msgspec.json.decode(raw, type=built(KeptCertificate))
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as err:
        raise Malformed("login-file", "expected what `keyturn login --certificate` wrote", hint=_AGAIN) from err


class CertificateFile:
    """The certificate that the home at `home` shows the service at `url`, if there is one. Thread-safe."""

    def __init__(self, home: Path, url: str, *, clock: Clock) -> None:
        self.path = home / "logins" / f"{sha256(url.rstrip('/').encode())[:32]}.certificate.json"
        self._url = url.rstrip("/")
        self._clock = clock
        self._lock = threading.Lock()
        self._known: tuple[_State, ssl.SSLContext, x509.Certificate] | None = None

    def keep(self, certificate_file: Path, key_file: Path) -> str:
        """Keep the names of the two files, once they are known to fit; give the SHA-256 of the certificate's DER."""
        kept = KeptCertificate(
            version=1,
            service=self._url,
            certificate_file=str(certificate_file.absolute()),
            key_file=str(key_file.absolute()),
        )
        _, certificate = read_certificate(Path(kept.certificate_file), Path(kept.key_file))
        self._require_valid(certificate, kept.certificate_file)
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(self.path, msgspec.json.encode(kept), mode=0o600)
        return sha256_of(certificate.public_bytes(Encoding.DER)).hexdigest()

    def context(self) -> ssl.SSLContext | None:
        """TLS with the certificate, the same object until one of the files changes; `None` when none is kept."""
        raw = read_private(self.path, needed=False)
        if raw is None:
            return None
        kept = parse(raw)
        if kept.service != self._url:
            raise Malformed("login-file", f"`{self.path}`: expected a login at `{self._url}`", hint=_AGAIN)
        with self._lock:
            state = _state(self.path, Path(kept.certificate_file), Path(kept.key_file))
            if self._known is None or self._known[0] != state:
                self._known = (state, *read_certificate(Path(kept.certificate_file), Path(kept.key_file)))
            _, context, certificate = self._known
        self._require_valid(certificate, kept.certificate_file)
        return context

    def _require_valid(self, certificate: x509.Certificate, path: str) -> None:
        now, until = datetime.fromtimestamp(self._clock.now(), UTC), certificate.not_valid_after_utc
        if now >= until:
            raise Unavailable(
                "login-certificate-expired",
                f"the certificate in `{path}` expired at {until.isoformat()}",
                hint="have it renewed, into the same file",
            )


def read_certificate(certificate_file: Path, key_file: Path) -> tuple[ssl.SSLContext, x509.Certificate]:
    """TLS that shows the certificate, and the certificate; `Refused` when the key is another's, or others can read it."""
    certificate = read_small(certificate_file)
    read_private(key_file, needed=True)
    context = ssl.create_default_context()
    try:
        context.load_cert_chain(certificate_file, key_file, password=lambda: b"")  # else OpenSSL asks whoever is there
        return context, x509.load_pem_x509_certificate(certificate)
    except (ssl.SSLError, ValueError) as err:
        raise Refused(
            "login-certificate",
            f"expected a certificate in `{certificate_file}` and its key, without a passphrase, in `{key_file}`, both in PEM",
            hint=_AGAIN,
        ) from err


def _state(*paths: Path) -> _State:
    """What changes when a file is written or replaced."""
    found = [path.stat() for path in paths if path.exists()]
    return tuple((one.st_ino, one.st_size, one.st_mtime_ns) for one in found)
