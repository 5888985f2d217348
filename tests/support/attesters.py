"""Makers of security keys: a root certificate, and attestation keys below it that sign how a key was made (packed)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

__all__ = ["Attester", "Maker"]

_OID_AAGUID = x509.ObjectIdentifier("1.3.6.1.4.1.45724.1.1.4")
_BEGIN = datetime(2020, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Attester:
    """An attestation key with its certificates, the leaf first."""

    chain: tuple[bytes, ...]
    private: ec.EllipticCurvePrivateKey

    def statement(self, signed: bytes) -> dict[str, Any]:
        return {"alg": -7, "sig": self.private.sign(signed, ec.ECDSA(hashes.SHA256())), "x5c": list(self.chain)}


class Maker:
    """A vendor with a root of its own."""

    def __init__(self, name: str, *, lives: timedelta = timedelta(days=365 * 80)) -> None:
        self._private = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name} root")])
        self._lives = lives
        self._certificate = self._signed(self._name, self._private.public_key(), ca=True)

    @property
    def root(self) -> bytes:
        """The root certificate, DER."""
        return self._certificate.public_bytes(serialization.Encoding.DER)

    @property
    def root_pem(self) -> bytes:
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def attester(
        self,
        aaguid: bytes | None = None,
        *,
        ca: bool = False,
        unit: str = "Authenticator Attestation",
        lives: timedelta | None = None,
    ) -> Attester:
        """An attestation key; `aaguid` is the model that its certificate is for, if it says so."""
        private = ec.generate_private_key(ec.SECP256R1())
        parts = (
            (NameOID.COUNTRY_NAME, "SE"),
            (NameOID.ORGANIZATION_NAME, "Maker"),
            (NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
            (NameOID.COMMON_NAME, "Maker EE"),
        )
        subject = x509.Name([x509.NameAttribute(oid, value) for oid, value in parts])
        leaf = self._signed(subject, private.public_key(), ca=ca, aaguid=aaguid, lives=lives)
        return Attester((leaf.public_bytes(serialization.Encoding.DER),), private)

    def below(self, attester: Attester, aaguid: bytes | None = None) -> Attester:
        """An attestation key whose certificate the holder of `attester` made himself, as if it were an authority."""
        issuer = x509.load_der_x509_certificate(attester.chain[0])
        other = Maker("nobody")
        other._private, other._name = attester.private, issuer.subject
        made = other.attester(aaguid)
        return Attester((*made.chain, *attester.chain), made.private)

    def _signed(
        self,
        subject: x509.Name,
        public: ec.EllipticCurvePublicKey,
        *,
        ca: bool,
        aaguid: bytes | None = None,
        lives: timedelta | None = None,
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(_BEGIN)
            .not_valid_after(_BEGIN + (lives or self._lives))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if aaguid is not None:
            builder = builder.add_extension(
                x509.UnrecognizedExtension(_OID_AAGUID, b"\x04\x10" + aaguid), critical=False
            )
        return builder.sign(self._private, hashes.SHA256())
