"""Sign models and statements as others do: with model-signing and its keys and certificates, and with cosign's kinds of keys."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from model_signing import hashing, signing

from keyturn.formats import dsse
from keyturn.formats.outside_statement import OMS
from keyturn.trust.outside import OutsideSigner
from support.labs import NOW

__all__ = ["Ca", "Key", "der", "envelope", "said"]

VENDOR = "models@vendor.example"


def der(key: Any) -> bytes:
    return bytes(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


@dataclass(frozen=True)
class Key:
    """A key of a vendor's in `place`, and model-signing with it."""

    place: Path
    private: ec.EllipticCurvePrivateKey

    @classmethod
    def make(cls, place: Path, curve: ec.EllipticCurve | None = None) -> Key:
        place.mkdir(exist_ok=True)
        private = ec.generate_private_key(curve or ec.SECP256R1())
        (place / "key.pem").write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return cls(place, private)

    def signer(self, *statements: str, **more: Any) -> OutsideSigner:
        return OutsideSigner(
            name="vendor",
            method="key",
            statements=frozenset(statements or (OMS,)),
            public=der(self.private.public_key()),
            **more,
        )

    def sign_model(self, model: Path, how: hashing.Config | None = None) -> bytes:
        config = signing.Config()  # type: ignore[no-untyped-call]  # its constructor says no types
        config.use_elliptic_key_signer(private_key=self.place / "key.pem")
        return _signed(config, model, self.place / "model.sig", how)


def _signed(config: signing.Config, model: Path, out: Path, how: hashing.Config | None) -> bytes:
    if how is not None:
        config.set_hashing_config(how)
    config.sign(model, out)
    return out.read_bytes()


@dataclass(frozen=True)
class Ca:
    """A certificate authority of a vendor's, an issuing one below it, and one signing certificate of that."""

    key: Key
    root: x509.Certificate

    @classmethod
    def make(
        cls,
        place: Path,
        *,
        days: tuple[int, int] = (-10, 10),
        name: str = VENDOR,
        usage: x509.ObjectIdentifier | None = None,
        below_a_ca: bool = True,
    ) -> Ca:
        """A root, what stands below it (`below_a_ca`: an authority, else somebody's own certificate), and the leaf of that."""
        key = Key.make(place)
        top, middle = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        root = _certificate("Vendor CA", top, "Vendor CA", top, (-1000, 1000), ca=True)
        between = _certificate("Vendor Issuing CA", middle, "Vendor CA", top, (-900, 900), ca=below_a_ca)
        more = (
            x509.SubjectAlternativeName([x509.RFC822Name(name)]),
            x509.ExtendedKeyUsage([usage or ExtendedKeyUsageOID.CODE_SIGNING]),
        )
        leaf = _certificate("Vendor Models", key.private, "Vendor Issuing CA", middle, days, more)
        for file, one in (("leaf", leaf), ("between", between), ("root", root)):
            (place / f"{file}.pem").write_bytes(one.public_bytes(Encoding.PEM))
        chain = (place / "leaf.pem").read_bytes() + (place / "between.pem").read_bytes()
        (place / "chain.pem").write_bytes(chain)
        return cls(key, root)

    def signer(self, identity: str = VENDOR) -> OutsideSigner:
        return OutsideSigner(
            name="vendor",
            method="certificate",
            statements=frozenset({OMS}),
            identity=identity,
            roots=(self.root.public_bytes(Encoding.DER),),
        )

    def sign_model(self, model: Path, how: hashing.Config | None = None) -> bytes:
        place = self.key.place
        config = signing.Config()  # type: ignore[no-untyped-call]  # its constructor says no types
        config.use_certificate_signer(
            private_key=place / "key.pem",
            signing_certificate=place / "leaf.pem",
            certificate_chain=[place / "between.pem"],
        )
        return _signed(config, model, place / "model.sig", how)


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    by: ec.EllipticCurvePrivateKey,
    days: tuple[int, int],
    more: tuple[x509.ExtensionType, ...] = (),
    *,
    ca: bool = False,
) -> x509.Certificate:
    begun = datetime.fromtimestamp(NOW, UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begun + timedelta(days=days[0]))
        .not_valid_after(begun + timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    for one in more:
        made = made.add_extension(one, critical=False)
    return made.sign(by, hashes.SHA256())


def said(kind: str, predicate: Any, sha256: str) -> bytes:
    """A statement of kind `kind` about the file with that digest."""
    subject = [{"name": "file", "digest": {"sha256": sha256}}]
    return json.dumps(
        {"_type": "https://in-toto.io/Statement/v1", "subject": subject, "predicateType": kind, "predicate": predicate}
    ).encode()


def envelope(payload: bytes, key: ec.EllipticCurvePrivateKey) -> bytes:
    """The DSSE envelope that `key` signs, without a key id, as cosign writes it."""
    signature = key.sign(dsse.pae(dsse.IN_TOTO, payload), ec.ECDSA(hashes.SHA256()))
    value = {
        "payloadType": dsse.IN_TOTO,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [{"sig": base64.b64encode(signature).decode()}],
    }
    return json.dumps(value).encode()
