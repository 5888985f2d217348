"""A private Sigstore whose log is in tiles (Rekor v2): it promises no time, so a timestamp authority does, with OpenSSL's `ts`.

    tiled = TiledSigstore(PrivateSigstore(), StampAuthority.make(tmp_path))
    raw = tiled.sign(statement, identity="models@vendor.example", issuer="https://login.vendor.example")
    tiled.trusted_root()                   # what a lab pins

An entry is a hashedrekord 0.0.2 over the digest of what was signed, in a log whose checkpoint an Ed25519 key signs (C2SP).
"""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from rfc3161_client import TimestampRequestBuilder
from rfc3161_client.base import HashAlgorithm

from keyturn.formats import canonical_json, dsse
from keyturn.tlog import merkle
from support.labs import NOW
from support.private_sigstore import Entry, PrivateSigstore, tree_nodes

__all__ = ["StampAuthority", "TiledSigstore", "hashed_body"]

_START = "2023-01-01T00:00:00Z"
_YEAR_S = 365 * 86400
_CONFIG = """[tsa]
default_tsa = one
[one]
serial = {place}/serial
crypto_device = builtin
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha384, sha512
ess_cert_id_alg = sha256
"""


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _at(time: int) -> datetime:
    return datetime.fromtimestamp(time, UTC)


@dataclass(frozen=True)
class StampAuthority:
    """A timestamp authority (RFC 3161) in `place`: its own root, and a certificate below it that is good for stamping alone."""

    place: Path
    chain: tuple[x509.Certificate, ...]

    @classmethod
    def make(cls, place: Path, *, until: int = NOW + 60 * _YEAR_S) -> StampAuthority:
        place.mkdir(parents=True)
        root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        root = _certificate("stamps root", root_key, None, root_key, ca=True, until=NOW + 60 * _YEAR_S)
        extended = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
        leaf = _certificate("stamps", key, root, root_key, ca=False, until=until, extended=extended)
        (place / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        (place / "leaf.pem").write_bytes(leaf.public_bytes(Encoding.PEM))
        (place / "serial").write_text("01\n")
        (place / "tsa.cnf").write_text(_CONFIG.format(place=place))
        return cls(place, (leaf, root))

    def stamp(self, message: bytes, *, at: int = NOW, embedded: bool = False) -> bytes:
        """The response over `message` (DER), given at `at`."""
        request = TimestampRequestBuilder().data(message).hash_algorithm(HashAlgorithm.SHA256)
        return self.answer(request.cert_request(cert_request=embedded).build().as_bytes(), at=at)

    def answer(self, query: bytes, *, at: int = NOW) -> bytes:
        (self.place / "query").write_bytes(query)
        what = ("ts", "-reply", "-config", "tsa.cnf", "-section", "one", "-queryfile", "query", "-out", "answer")
        subprocess.run(
            ["openssl", *what, "-signer", "leaf.pem", "-inkey", "key.pem"],
            cwd=self.place,
            check=True,
            capture_output=True,
            env={
                "PATH": "/usr/bin:/bin",
                "TZ": "UTC",
                "LD_PRELOAD": _library(),
                "FAKETIME": f"{_at(at):%Y-%m-%d %H:%M:%S}",
            },
        )
        return (self.place / "answer").read_bytes()

    def instance(self, **during: str) -> dict[str, Any]:
        """Its row of a trusted root."""
        return {
            "subject": {"organization": "private.example", "commonName": "stamps"},
            "uri": "https://stamps.private.example",
            "certChain": {
                "certificates": [{"rawBytes": _base64(one.public_bytes(Encoding.DER))} for one in self.chain]
            },
            "validFor": {"start": _START, **during},
        }


@dataclass
class TiledSigstore:
    """`made` with a log in tiles; `stamps` is who vouches for times."""

    made: PrivateSigstore
    stamps: StampAuthority
    log_key: ed25519.Ed25519PrivateKey = field(default_factory=ed25519.Ed25519PrivateKey.generate)
    origin: str = "tiles.private.example"

    @property
    def log_id(self) -> bytes:
        """The key id of the log's checkpoints (C2SP signed-note), all 32 bytes."""
        raw = self.log_key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return hashlib.sha256(self.origin.encode() + b"\n\x01" + raw).digest()

    def log(self, body: bytes) -> Entry:
        """The entry as a bundle has it: a proof under a signed checkpoint, and no time."""
        leaves = [*self.made.leaves, body]
        size, index, hashed = len(leaves), len(leaves) - 1, merkle.leaf_hashes(leaves)
        root = merkle.root_at(size, lambda *where: tree_nodes(hashed, *where))
        proof = merkle.inclusion_proof(index, size, lambda *where: tree_nodes(hashed, *where))
        note = f"{self.origin}\n{size}\n{_base64(root)}\n"
        signature = _base64(self.log_id[:4] + self.log_key.sign(note.encode()))
        kind = json.loads(body)
        return {
            "logIndex": str(index),
            "logId": {"keyId": _base64(self.log_id)},
            "kindVersion": {"kind": kind["kind"], "version": kind["apiVersion"]},
            "inclusionProof": {
                "logIndex": str(index),
                "rootHash": _base64(root),
                "treeSize": str(size),
                "hashes": [_base64(one) for one in proof],
                "checkpoint": {"envelope": f"{note}\n— {self.origin} {signature}\n"},
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
        stamped: Callable[[bytes], Sequence[bytes]] | None = None,
    ) -> bytes:
        """The bundle of the statement `payload`, signed at `at`, with a timestamp of then, or those that `stamped` gives."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self.made.certificate(key.public_key(), identity=identity, issuer=issuer, at=at)
        message = dsse.pae(dsse.IN_TOTO, payload)
        signature = key.sign(message, ec.ECDSA(hashes.SHA256()))
        der = certificate.public_bytes(Encoding.DER)
        stamps = (self.stamps.stamp(signature, at=at),) if stamped is None else stamped(signature)
        return json.dumps(
            {
                "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
                "verificationMaterial": {
                    "certificate": {"rawBytes": _base64(der)},
                    "tlogEntries": [self.log(hashed_body(hashlib.sha256(message).digest(), signature, der))],
                    "timestampVerificationData": {
                        "rfc3161Timestamps": [{"signedTimestamp": _base64(one)} for one in stamps]
                    },
                },
                "dsseEnvelope": {
                    "payload": _base64(payload),
                    "payloadType": dsse.IN_TOTO,
                    "signatures": [{"sig": _base64(signature), "keyid": ""}],
                },
            }
        ).encode()

    def trusted_root_json(self) -> dict[str, Any]:
        """The root of before, with the log in tiles and the timestamp authority."""
        root = self.made.trusted_root_json()
        public = self.log_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        key = {"rawBytes": _base64(public), "keyDetails": "PKIX_ED25519", "validFor": {"start": _START}}
        log = {"baseUrl": f"https://{self.origin}", "hashAlgorithm": "SHA2_256", "publicKey": key}
        root["tlogs"].append(log | {"logId": {"keyId": _base64(self.log_id)}})
        root["timestampAuthorities"] = [self.stamps.instance()]
        return root

    def trusted_root(self) -> bytes:
        return json.dumps(self.trusted_root_json()).encode()


def _library() -> str:
    """What the command `faketime` loads, which shares memory by process ids besides, and fails when these come again."""
    return str(next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")))


def hashed_body(digest: bytes, signature: bytes, der: bytes) -> bytes:
    """What a log in tiles keeps of a signature: the digest of what was signed, the signature and the certificate."""
    verifier = {"keyDetails": "PKIX_ECDSA_P256_SHA_256", "x509Certificate": {"rawBytes": _base64(der)}}
    signed = {"content": _base64(signature), "verifier": verifier}
    data = {"algorithm": "SHA2_256", "digest": _base64(digest)}
    return canonical_json.encode(
        {
            "apiVersion": "0.0.2",
            "kind": "hashedrekord",
            "spec": {"hashedRekordV002": {"data": data, "signature": signed}},
        }
    )


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    above: x509.Certificate | None,
    by: ec.EllipticCurvePrivateKey,
    *,
    ca: bool,
    until: int,
    extended: x509.ExtendedKeyUsage | None = None,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if above is None else above.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_at(NOW - 3 * _YEAR_S))
        .not_valid_after(_at(until))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False)
    )
    if extended is not None:
        made = made.add_extension(extended, critical=True)
    return made.sign(by, hashes.SHA256())
