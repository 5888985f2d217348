"""A Sigstore of a lab's own, for tests: certificate authority, certificate transparency log and transparency log, with real keys.

    made = PrivateSigstore()
    raw = made.sign(statement, identity="models@vendor.example", issuer="https://login.vendor.example")
    made.trusted_root()                    # what a lab pins

What comes out is what Fulcio and Rekor (v1) give out: a short-lived certificate with an embedded SCT, an entry with promise,
proof and signed checkpoint, a bundle of version 0.3. `served_sigstore` puts it behind HTTP, for signers that ask it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from keyturn.formats import canonical_json, dsse
from keyturn.tlog import merkle
from support.labs import NOW

__all__ = ["Entry", "PrivateSigstore", "dsse_body", "tree_nodes"]

_SCTS = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
_ISSUER = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
_ISSUER_V2 = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
_LIFETIME_S = 600
_YEAR_S = 365 * 86400

Entry = dict[str, Any]


def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _der(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _at(time: int) -> datetime:
    return datetime.fromtimestamp(time, UTC)


@dataclass
class PrivateSigstore:
    """Keys of all that a Sigstore consists of; what was logged so far."""

    root_key: ec.EllipticCurvePrivateKey = field(default_factory=_key)
    ca_key: ec.EllipticCurvePrivateKey = field(default_factory=_key)
    ct_key: ec.EllipticCurvePrivateKey = field(default_factory=_key)
    log_key: ec.EllipticCurvePrivateKey = field(default_factory=_key)
    lifetime_s: int = _LIFETIME_S
    leaves: list[bytes] = field(default_factory=lambda: [b"{}", b'{"kind":"other"}'])

    def __post_init__(self) -> None:
        self.root = self._authority("root", self.root_key, None)
        self.intermediate = self._authority("intermediate", self.ca_key, self.root)

    def _authority(
        self, name: str, key: ec.EllipticCurvePrivateKey, above: x509.Certificate | None
    ) -> x509.Certificate:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"private sigstore {name}")])
        issuer = subject if above is None else above.subject
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(_at(NOW - 3 * _YEAR_S))
            .not_valid_after(_at(NOW + 90 * _YEAR_S))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None if above is None else 0), critical=True)
            .add_extension(_usage(sign_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        if above is not None:
            made = made.add_extension(_issued_by(self.root_key), critical=False)
        return made.sign(self.root_key, hashes.SHA256())

    def certificate(
        self,
        public: ec.EllipticCurvePublicKey,
        *,
        identity: str,
        issuer: str,
        at: int = NOW,
        ct_key: ec.EllipticCurvePrivateKey | None = None,
        with_sct: bool = True,
    ) -> x509.Certificate:
        """What Fulcio issues for `public` at `at`: for a few minutes, with the SCT of the log whose key is `ct_key`."""
        name = (
            x509.RFC822Name(identity) if "@" in identity.partition("/")[0] else x509.UniformResourceIdentifier(identity)
        )
        text = issuer.encode()
        made = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.intermediate.subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(_at(at))
            .not_valid_after(_at(at + self.lifetime_s))
            .add_extension(_usage(sign_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(_issued_by(self.ca_key), critical=False)
            .add_extension(x509.SubjectAlternativeName([name]), critical=True)
            .add_extension(x509.UnrecognizedExtension(_ISSUER, text), critical=False)
            .add_extension(x509.UnrecognizedExtension(_ISSUER_V2, bytes([0x0C, len(text)]) + text), critical=False)
        )
        if not with_sct:
            return made.sign(self.ca_key, hashes.SHA256())
        before = made.sign(self.ca_key, hashes.SHA256()).tbs_certificate_bytes
        sct = self._sct(before, at, ct_key or self.ct_key)
        return made.add_extension(x509.UnrecognizedExtension(_SCTS, sct), critical=False).sign(
            self.ca_key, hashes.SHA256()
        )

    def _sct(self, precertificate: bytes, at: int, key: ec.EllipticCurvePrivateKey) -> bytes:
        """The list of one SCT over `precertificate` (RFC 6962, 3.2 and 3.3), as the extension has it."""
        entry = hashlib.sha256(_der(self.ca_key)).digest() + len(precertificate).to_bytes(3, "big") + precertificate
        signed = struct.pack("!BBQH", 0, 0, at * 1000, 1) + entry + b"\0\0"
        signature = key.sign(signed, ec.ECDSA(hashes.SHA256()))
        one = struct.pack("!B32sQHBBH", 0, hashlib.sha256(_der(key)).digest(), at * 1000, 0, 4, 3, len(signature))
        one += signature
        several = struct.pack("!HH", len(one) + 2, len(one)) + one
        return bytes([0x04, 0x81, len(several)] if len(several) > 127 else [0x04, len(several)]) + several

    def log(self, body: bytes, *, at: int = NOW) -> Entry:
        """Log `body` at `at`: the entry as a bundle has it, with promise, proof and checkpoint."""
        self.leaves.append(body)
        index, size, log_id = len(self.leaves) - 1, len(self.leaves), hashlib.sha256(_der(self.log_key)).digest()
        hashed = merkle.leaf_hashes(self.leaves)
        root = merkle.root_at(size, lambda level, low, high: tree_nodes(hashed, level, low, high))
        proof = merkle.inclusion_proof(index, size, lambda level, low, high: tree_nodes(hashed, level, low, high))
        note = f"log.private.example - 1\n{size}\n{_base64(root)}\n"
        signature = _base64(log_id[:4] + self.log_key.sign(note.encode(), ec.ECDSA(hashes.SHA256())))
        promised = canonical_json.encode(
            {"body": _base64(body), "integratedTime": at, "logID": log_id.hex(), "logIndex": index}
        )
        kind = json.loads(body)
        return {
            "logIndex": str(index),
            "logId": {"keyId": _base64(log_id)},
            "kindVersion": {"kind": kind["kind"], "version": kind["apiVersion"]},
            "integratedTime": str(at),
            "inclusionPromise": {
                "signedEntryTimestamp": _base64(self.log_key.sign(promised, ec.ECDSA(hashes.SHA256())))
            },
            "inclusionProof": {
                "logIndex": str(index),
                "rootHash": _base64(root),
                "treeSize": str(size),
                "hashes": [_base64(one) for one in proof],
                "checkpoint": {"envelope": f"{note}\n— log.private.example {signature}\n"},
            },
            "canonicalizedBody": _base64(body),
        }

    def sign(
        self,
        payload: bytes,
        *,
        identity: str,
        issuer: str,
        at: int = NOW,
        logged_at: int | None = None,
        ct_key: ec.EllipticCurvePrivateKey | None = None,
        with_sct: bool = True,
    ) -> bytes:
        """The bundle of the statement `payload` that `identity` signs at `at`, vouched for by `issuer`."""
        key = _key()
        certificate = self.certificate(
            key.public_key(), identity=identity, issuer=issuer, at=at, ct_key=ct_key, with_sct=with_sct
        )
        signature = _base64(key.sign(dsse.pae(dsse.IN_TOTO, payload), ec.ECDSA(hashes.SHA256())))
        envelope = {
            "payload": _base64(payload),
            "payloadType": dsse.IN_TOTO,
            "signatures": [{"sig": signature, "keyid": ""}],
        }
        pem = _base64(certificate.public_bytes(Encoding.PEM))
        body = dsse_body(json.dumps(envelope).encode(), payload, [(signature, pem)])
        entry = self.log(body, at=at if logged_at is None else logged_at)
        return json.dumps(
            {
                "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
                "verificationMaterial": {
                    "certificate": {"rawBytes": _base64(certificate.public_bytes(Encoding.DER))},
                    "tlogEntries": [entry],
                },
                "dsseEnvelope": envelope,
            }
        ).encode()

    def trusted_root(self) -> bytes:
        """The trusted root under which all of it verifies."""
        return json.dumps(self.trusted_root_json()).encode()

    def trusted_root_json(self) -> dict[str, Any]:
        chain = [_base64(one.public_bytes(Encoding.DER)) for one in (self.intermediate, self.root)]
        return {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [_instance(self.log_key, "https://log.private.example")],
            "certificateAuthorities": [
                {
                    "subject": {"organization": "private.example", "commonName": "private sigstore"},
                    "uri": "https://ca.private.example",
                    "certChain": {"certificates": [{"rawBytes": one} for one in chain]},
                    "validFor": {"start": "2023-01-01T00:00:00Z"},
                }
            ],
            "ctlogs": [_instance(self.ct_key, "https://ct.private.example")],
            "timestampAuthorities": [],
        }


def dsse_body(envelope: bytes, payload: bytes, signed: list[tuple[str, str]]) -> bytes:
    """What Rekor keeps of an envelope: digests, signatures, and the certificates by which they verify."""
    return canonical_json.encode(
        {
            "apiVersion": "0.0.1",
            "kind": "dsse",
            "spec": {
                "envelopeHash": {"algorithm": "sha256", "value": hashlib.sha256(envelope).hexdigest()},
                "payloadHash": {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()},
                "signatures": [{"signature": one, "verifier": by} for one, by in signed],
            },
        }
    )


def _instance(key: ec.EllipticCurvePrivateKey, url: str) -> dict[str, Any]:
    return {
        "baseUrl": url,
        "hashAlgorithm": "SHA2_256",
        "publicKey": {
            "rawBytes": _base64(_der(key)),
            "keyDetails": "PKIX_ECDSA_P256_SHA_256",
            "validFor": {"start": "2023-01-01T00:00:00Z"},
        },
        "logId": {"keyId": _base64(hashlib.sha256(_der(key)).digest())},
    }


def _issued_by(key: ec.EllipticCurvePrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def tree_nodes(hashed: list[bytes], level: int, low: int, high: int) -> list[bytes]:
    """The hashes of complete subtrees of 2**level leaves, `low` up to `high`."""
    for _ in range(level):
        hashed = [merkle.node_hash(hashed[one], hashed[one + 1]) for one in range(0, len(hashed) - 1, 2)]
    return hashed[low:high]
