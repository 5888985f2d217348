"""Certify session keys for a server's TLS, by a certificate authority of one gate's own; read the requests for that (RFC 2986).

The authority's certificate is what PostgreSQL has as `ssl_ca_file`, and its key lies in the gate's directory. A certificate names
one role, is for TLS clients alone, and is no secret: who connects proves the key in it. It begins `BEFORE_S` ago, for clocks that
differ a little.

A request's signature shows that whoever made it has the key. What else it says (its subject, its extensions) is not looked at.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from keyturn.adapters.files.config_files import read_kept, replace_file
from keyturn.adapters.files.key_files import read_key, write_key
from keyturn.crypto.keys import PublicKey
from keyturn.crypto.signers import SoftwareKey
from keyturn.errors import Malformed, Refused

__all__ = ["SessionAuthority", "key_in", "make_authority", "read_request", "request_for"]

BEFORE_S: Final = 30
_YEARS: Final = 10
_REQUEST_BYTES_MAX: Final = 8 * 1024


class SessionAuthority:
    """The authority in the directory `place`: `ca.key` and `ca.pem`."""

    def __init__(self, place: Path) -> None:
        pem = read_key(place / "ca.key", passphrase=None).render(passphrase=None)
        key = serialization.load_pem_private_key(pem, password=None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)  # `make_authority` makes no other
        self._key = key
        self._name = x509.load_pem_x509_certificate(read_kept(place / "ca.pem")).subject

    def issue(self, key: PublicKey, role: str, *, now: int, until: int) -> bytes:
        """A certificate (PEM) for `role` over `key`, good from now `until` (POSIX seconds)."""
        made = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, role)]))
            .issuer_name(self._name)
            .public_key(serialization.load_der_public_key(key.spki))  # type: ignore[arg-type]  # Ed25519 or P-256
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime.fromtimestamp(now - BEFORE_S, UTC))
            .not_valid_after(datetime.fromtimestamp(until, UTC))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        return made.public_bytes(serialization.Encoding.PEM)


def make_authority(place: Path, *, name: str, now: int) -> None:
    """Make the key and certificate of a new authority in `place`; `Refused` when there is a key already."""
    write_key(place / "ca.key", SoftwareKey.generate("ecdsa-sha2-nistp256"), passphrase=None)
    pem = read_key(place / "ca.key", passphrase=None).render(passphrase=None)
    key = serialization.load_pem_private_key(pem, password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"keyturn gate {name}"[:64])])
    begins = datetime.fromtimestamp(now, UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins - timedelta(hours=1))
        .not_valid_after(begins + timedelta(days=365 * _YEARS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    replace_file(place / "ca.pem", made.public_bytes(serialization.Encoding.PEM), mode=0o644)


def request_for(key: SoftwareKey) -> bytes:
    """A certificate request (PEM) by which whoever has `key` shows that he does."""
    private = serialization.load_pem_private_key(key.render(passphrase=None), password=None)
    made = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    algorithm = hashes.SHA256() if isinstance(private, ec.EllipticCurvePrivateKey) else None
    return made.sign(private, algorithm).public_bytes(serialization.Encoding.PEM)  # type: ignore[arg-type]  # the same two


def key_in(pem: bytes) -> PublicKey:
    """The key that the certificate `pem` is for; `Malformed` when it is none."""
    try:
        spki = (
            x509.load_pem_x509_certificate(pem)
            .public_key()
            .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
    except (ValueError, UnsupportedAlgorithm) as err:
        raise Malformed("certificate-invalid", "expected a PEM certificate", detail=str(err)) from err
    return PublicKey.from_spki(spki)


def read_request(pem: bytes) -> PublicKey:
    """The key of the certificate request `pem`, which signed it; `Malformed` for anything else, `Refused` for another's key."""
    if len(pem) > _REQUEST_BYTES_MAX or not pem.startswith(b"-----BEGIN CERTIFICATE REQUEST-----"):
        raise Malformed(
            "certificate-request", f"expected a PEM certificate request of at most {_REQUEST_BYTES_MAX} bytes"
        )
    try:
        asked = x509.load_pem_x509_csr(pem)
        spki = asked.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        key = PublicKey.from_spki(spki)
        holds = asked.is_signature_valid
    except (ValueError, UnsupportedAlgorithm, InvalidSignature) as err:
        raise Malformed("certificate-request", "expected a PEM certificate request", detail=str(err)) from err
    if not holds:
        raise Refused("certificate-request-signature", "the certificate request is not signed by the key in it")
    return key
