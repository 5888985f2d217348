"""Makers of security keys: a root certificate, attestation keys below it that sign how a key was made (packed); FIDO's list."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

__all__ = ["Attester", "FidoMetadata", "Maker"]

_OID_AAGUID = x509.ObjectIdentifier("1.3.6.1.4.1.45724.1.1.4")
_BEGIN = datetime(2020, 1, 1, tzinfo=UTC)
_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


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
        name: str = "Maker EE",
        lives: timedelta | None = None,
    ) -> Attester:
        """An attestation key; `aaguid` is the model that its certificate is for, if it says so."""
        private = ec.generate_private_key(ec.SECP256R1())
        parts = (
            (NameOID.COUNTRY_NAME, "SE"),
            (NameOID.ORGANIZATION_NAME, "Maker"),
            (NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
            (NameOID.COMMON_NAME, name),
        )
        subject = x509.Name([x509.NameAttribute(oid, value) for oid, value in parts])
        leaf = self._signed(subject, private.public_key(), ca=ca, aaguid=aaguid, lives=lives)
        return Attester((leaf.public_bytes(serialization.Encoding.DER),), private)

    def below(self, attester: Attester, aaguid: bytes | None = None) -> Attester:
        """An attestation key whose certificate the holder of `attester` made himself, as if it were an authority."""
        issuer = x509.load_der_x509_certificate(attester.chain[0])
        other = Maker("nobody")
        other._private, other._name = attester.private, issuer.subject
        made = other.attester(aaguid, name="Maker EE below")
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


@dataclass
class FidoMetadata:
    """What FIDO publishes, signed by a host's certificate under a root of our own; `entry` is of one authenticator."""

    aaguid: str = "01020304-0506-0708-090a-0b0c0d0e0f10"
    host: str = "mds.fidoalliance.org"
    algorithm: str = "ES256"
    next_update: str = "2999-01-01"
    statuses: tuple[str, ...] = ("FIDO_CERTIFIED_L1",)
    roots: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        self._authority, self._private = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "An authority for everybody")])
        self._root = self._signed(self._name, self._authority, host=None)

    @property
    def root(self) -> bytes:
        """The root certificate, DER."""
        return self._root.public_bytes(serialization.Encoding.DER)

    def blob(self) -> bytes:
        leaf = self._signed(x509.Name([]), self._private, host=self.host).public_bytes(serialization.Encoding.DER)
        header = {"alg": self.algorithm, "typ": "JWT", "x5c": [base64.b64encode(leaf).decode()]}
        statement = {
            "description": "Acme Key 1",
            "attestationRootCertificates": [base64.b64encode(root).decode() for root in self.roots],
            "somethingNew": {"of": [2027]},
        }
        entry = {
            "aaguid": self.aaguid,
            "metadataStatement": statement,
            "statusReports": [{"status": status, "effectiveDate": "2026-01-01"} for status in self.statuses],
        }
        payload = {"legalHeader": "", "no": 7, "nextUpdate": self.next_update, "entries": [{"aaid": "1#1"}, entry]}
        signed = b".".join(_base64url(json.dumps(part).encode()) for part in (header, payload))
        signature = self._private.sign(signed, ec.ECDSA(hashes.SHA256()))
        return signed + b"." + _base64url(signature)

    def _signed(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, host: str | None) -> x509.Certificate:
        authority = self._authority.public_key()
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(_BEGIN)
            .not_valid_after(_BEGIN + timedelta(days=365 * 80))
            .add_extension(x509.BasicConstraints(ca=host is None, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority), critical=False)
        )
        if host is None:
            usage = dict.fromkeys(_USAGES, False) | {"key_cert_sign": True, "crl_sign": True}
            builder = builder.add_extension(x509.KeyUsage(**usage), critical=True)
        else:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=True)
            builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        return builder.sign(self._authority, hashes.SHA256())


def _base64url(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")
