"""Sign the files of a released model as OpenSSF Model Signing (OMS) does: a Sigstore bundle, by a key or a certificate of it.

Follows https://github.com/sigstore/model-transparency (specification 1.0): an in-toto Statement whose one subject has the SHA-256
over the files' digests in their order, and whose predicate `https://model_signing/signature/v1.0` names each file with its own,
in the order of their paths' parts; `serialization` is by files. The bundle (v0.3) names its key by the SHA-256 of the PEM, or has
the chain of certificates, the key's first.

1. The files are those of the released model: with SHA-256s, the statement, read again, has its identity.
2. The key is ECDSA P-256: what verifies these signatures knows no Ed25519.
3. The certificate is the key's, and one that signs: nothing would verify another.

This is NOT evidence of a release: it says that whoever has the key signed these files. Why he did is in the pack.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any, Literal

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from keyturn.crypto.dsse_signing import RecordSigner
from keyturn.crypto.keys import PublicKey
from keyturn.errors import Refused
from keyturn.formats import base64_text, canonical_json, dsse, outside_statement
from keyturn.formats.digest import ArtifactDigest
from keyturn.formats.manifest import Contents, HashedFile, Manifest, ManifestFile
from keyturn.formats.outside_statement import OMS
from keyturn.formats.statement import STATEMENT_V1

__all__ = ["OmsHash", "require_certificate_of", "require_signing_key", "sign"]

OmsHash = Literal["blake3", "sha256"]

_MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"


def sign(
    files: Contents | Manifest,
    key: RecordSigner,
    *,
    model: ArtifactDigest,
    name: str,
    hashed: OmsHash = "sha256",
    certificates: tuple[x509.Certificate, ...] = (),
) -> bytes:
    """The bundle over `files`, which must be `model`, as a model called `name`, with their digests `hashed`; or raise `Refused`.

    With `certificates`, the key's own first, whoever trusts their root verifies it; without, whoever has the public key.
    """
    require_signing_key(key.public)  # (2)
    payload = _statement(files, name, hashed)
    if files.identity != model or (hashed == "sha256" and outside_statement.parse_model(payload) != model):  # (1)
        raise Refused(
            "model-other-files",
            f"the files are `{files.identity}`, and the released model is `{model}`: they are not signed",
            hint="find the files that were released: keyturn verify MODEL --pack PACK --root ROOT",
        )
    signature = key.sign_record(dsse.pae(dsse.IN_TOTO, payload))
    material: dict[str, Any] = {"publicKey": {"hint": sha256(_pem(key.public)).hexdigest()}}
    if certificates:
        require_certificate_of(key.public, certificates[0])  # (3)
        chain = [base64_text.encode(one.public_bytes(serialization.Encoding.DER)) for one in certificates]
        material = {"x509CertificateChain": {"certificates": [{"rawBytes": one} for one in chain]}}
    bundle = {
        "mediaType": _MEDIA_TYPE,
        "verificationMaterial": material | {"tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64_text.encode(payload),
            "payloadType": dsse.IN_TOTO,
            "signatures": [{"sig": base64_text.encode(signature), "keyid": ""}],
        },
    }
    return (json.dumps(bundle) + "\n").encode()


def require_signing_key(key: PublicKey) -> None:
    """Refuse a key whose signatures nothing would verify."""
    if key.scheme != "ecdsa-sha2-nistp256":
        raise Refused(
            "oms-key",
            f"expected an ECDSA P-256 key for a model signature, got {key.scheme}",
            hint="openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out oms.pem",
        )


def require_certificate_of(key: PublicKey, certificate: x509.Certificate) -> None:
    """Refuse a certificate of another key, or one that may not sign."""
    found = certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    if found != key.spki:
        raise Refused(
            "oms-certificate",
            "the first certificate is of another key than the one that signs",
            hint="the key's own certificate stands first, those above it follow: cat model.pem intermediate.pem > chain.pem",
        )
    if not _signs(certificate):
        raise Refused(
            "oms-certificate",
            "expected a certificate for digital signatures or code signing, and this one is for neither",
            hint="ask your certificate authority for one with keyUsage digitalSignature",
        )


def _signs(certificate: x509.Certificate) -> bool:
    said = certificate.extensions
    try:
        if said.get_extension_for_class(x509.KeyUsage).value.digital_signature:
            return True
    except x509.ExtensionNotFound:
        pass
    try:
        return ExtendedKeyUsageOID.CODE_SIGNING in said.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return False


def _digest(file: HashedFile | ManifestFile, hashed: OmsHash) -> str:
    if hashed == "sha256":
        return file.sha256
    if not isinstance(file, ManifestFile):
        raise TypeError("BLAKE3s are those of a manifest: `bulk.manifest.make`")
    return file.blake3


def _statement(files: Contents | Manifest, name: str, hashed: OmsHash) -> bytes:
    alone = files.kind == "file"
    ordered: list[HashedFile | ManifestFile] = sorted(files.files, key=lambda file: file.path.split("/"))
    digests = [(one.path, _digest(one, hashed)) for one in ordered]
    return canonical_json.encode(
        {
            "_type": STATEMENT_V1,
            "subject": [
                {
                    "name": name,
                    "digest": {"sha256": sha256(b"".join(bytes.fromhex(one) for _, one in digests)).hexdigest()},
                }
            ],
            "predicateType": OMS,
            "predicate": {
                "serialization": {
                    "method": "files",
                    "hash_type": hashed,
                    "allow_symlinks": False,
                    "ignore_paths": [],
                },
                "resources": [
                    {"name": "." if alone else path, "algorithm": hashed, "digest": digest} for path, digest in digests
                ],
            },
        }
    )


def _pem(key: PublicKey) -> bytes:
    return serialization.load_der_public_key(key.spki).public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
