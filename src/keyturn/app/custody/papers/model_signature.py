"""Sign the files of a released model as OpenSSF Model Signing (OMS) does: a Sigstore bundle, by a key.

Follows https://github.com/sigstore/model-transparency (specification 1.0): an in-toto Statement whose one subject has the SHA-256
over the files' digests in their order, and whose predicate `https://model_signing/signature/v1.0` names each file with its own,
in the order of their paths' parts; `serialization` is by files. The bundle (v0.3) names its key by the SHA-256 of the PEM.

1. The files are those of the released model: the statement, read again, has its identity.
2. The key is ECDSA P-256: what verifies these signatures knows no Ed25519.

This is NOT evidence of a release: it says that whoever has the key signed these files. Why he did is in the pack.
"""

from __future__ import annotations

import json
from hashlib import sha256

from cryptography.hazmat.primitives import serialization

from keyturn.crypto.dsse_signing import RecordSigner
from keyturn.crypto.keys import PublicKey
from keyturn.errors import Refused
from keyturn.formats import base64_text, canonical_json, dsse, outside_statement
from keyturn.formats.digest import ArtifactDigest
from keyturn.formats.manifest import Manifest
from keyturn.formats.outside_statement import OMS
from keyturn.formats.statement import STATEMENT_V1

__all__ = ["require_signing_key", "sign"]

_MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"


def sign(files: Manifest, key: RecordSigner, *, model: ArtifactDigest, name: str) -> bytes:
    """The bundle over `files`, which must be `model`, as a model called `name`; or raise `Refused`."""
    require_signing_key(key.public)  # (2)
    payload = _statement(files, name)
    if outside_statement.parse_model(payload) != model:  # (1)
        raise Refused(
            "model-other-files",
            f"the files are `{files.identity}`, and the released model is `{model}`: they are not signed",
            hint="find the files that were released: keyturn verify MODEL --pack PACK --root ROOT",
        )
    signature = key.sign_record(dsse.pae(dsse.IN_TOTO, payload))
    bundle = {
        "mediaType": _MEDIA_TYPE,
        "verificationMaterial": {"publicKey": {"hint": sha256(_pem(key.public)).hexdigest()}, "tlogEntries": []},
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


def _statement(files: Manifest, name: str) -> bytes:
    alone = files.kind == "file"
    ordered = sorted(files.files, key=lambda file: file.path.split("/"))
    return canonical_json.encode(
        {
            "_type": STATEMENT_V1,
            "subject": [
                {
                    "name": name,
                    "digest": {"sha256": sha256(b"".join(bytes.fromhex(one.sha256) for one in ordered)).hexdigest()},
                }
            ],
            "predicateType": OMS,
            "predicate": {
                "serialization": {
                    "method": "files",
                    "hash_type": "sha256",
                    "allow_symlinks": False,
                    "ignore_paths": [],
                },
                "resources": [
                    {"name": "." if alone else one.path, "algorithm": "sha256", "digest": one.sha256} for one in ordered
                ],
            },
        }
    )


def _pem(key: PublicKey) -> bytes:
    return serialization.load_der_public_key(key.spki).public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
