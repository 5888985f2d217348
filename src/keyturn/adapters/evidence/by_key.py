"""Verify what was signed with a key: DSSE envelopes, bundles that name no identity, cosign's signatures over a file's bytes.

The key is the lab's row alone; a key id or hint in what is verified decides nothing. ECDSA with the hash of its curve (P-256
SHA-256, P-384 SHA-384, P-521 SHA-512), RSA PKCS #1 v1.5 with SHA-256, Ed25519. Of a file only the digest is needed, so Ed25519,
which signs the bytes themselves, cannot be verified over a file here.

This is NOT a transparency log: what a key signed may be in none, and nothing is looked for in one.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from keyturn.adapters.evidence import strict_json
from keyturn.custody.expected import SIGNATURE, found_in
from keyturn.errors import Malformed, Refused
from keyturn.formats import dsse
from keyturn.formats.digest import sha256
from keyturn.formats.evidence import Found, Presented
from keyturn.trust.outside import OutsideSigner

__all__ = ["SigningKey", "load_key", "verify"]

SigningKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey

_RSA_BITS_MIN = 2048


def verify(presented: Presented, signer: OutsideSigner) -> Found:
    """What the original says, signed with the key of `signer`; raises `Refused` or `Malformed` by name."""
    if signer.method != "key":
        raise Refused("evidence-method", f"`{signer.name}` signs by {signer.method}, and this is signed with a key")
    key, by = load_key(signer), f"key:{sha256(signer.public)}"
    if presented.format == "cosign-signature":
        return _over_file(presented, _base64(presented.original.strip(), "signature"), key, by)
    if presented.format == "dsse":
        return _of_envelope(presented.original, signer, key, by)
    try:
        bundle: Any = strict_json.loads(presented.original)
        envelope, message = bundle.get("dsseEnvelope"), bundle.get("messageSignature")
        if envelope is not None:
            return _of_envelope(json.dumps(envelope).encode(), signer, key, by)
        return _over_file(presented, _base64(message["signature"], "signature"), key, by)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as err:
        raise Malformed("evidence-bundle", f"expected a Sigstore bundle: {str(err)[:200]}") from err


def load_key(signer: OutsideSigner) -> SigningKey:
    """The key that `evidence.toml` has for `signer`; `Malformed` for one of a kind that is not verified here."""
    try:
        key = serialization.load_der_public_key(signer.public)
    except (ValueError, UnsupportedAlgorithm) as err:
        raise Malformed(
            "outside-key", f"`evidence.toml`: the key of `{signer.name}` is none: {str(err)[:200]}"
        ) from err
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _HASHES:
        return key
    if isinstance(key, ed25519.Ed25519PublicKey) or (
        isinstance(key, rsa.RSAPublicKey) and key.key_size >= _RSA_BITS_MIN
    ):
        return key
    raise Malformed(
        "outside-key", f"`evidence.toml`: expected ECDSA, Ed25519 or RSA for `{signer.name}`, got another key"
    )


_HASHES: dict[str, hashes.HashAlgorithm] = {
    "secp256r1": hashes.SHA256(),
    "secp384r1": hashes.SHA384(),
    "secp521r1": hashes.SHA512(),
}


def _of_envelope(raw: bytes, signer: OutsideSigner, key: SigningKey, by: str) -> Found:
    envelope = dsse.parse_foreign(raw)
    message = dsse.pae(envelope.payload_type, envelope.payload)
    if not any(_signed(key, one.sig, message) for one in envelope.signatures):
        raise Refused("evidence-signature", f"no signature of the envelope is by the key of `{signer.name}`")
    return found_in(envelope.payload, signer, by=by)


def _signed(key: SigningKey, signature: bytes, message: bytes) -> bool:
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, message, ec.ECDSA(_HASHES[key.curve.name]))
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
        else:
            key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _over_file(presented: Presented, signature: bytes, key: SigningKey, by: str) -> Found:
    if presented.artifact.algorithm != "sha256":
        raise Refused("evidence-other-subject", "a signature over bytes is about one file, and no directory")
    digest, over = bytes.fromhex(presented.artifact.hex), Prehashed(hashes.SHA256())
    try:
        if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp256r1":
            key.verify(signature, digest, ec.ECDSA(over))
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, digest, padding.PKCS1v15(), over)
        else:
            raise Refused(
                "evidence-method", "over a file's bytes, only ECDSA P-256 and RSA are verified by its SHA-256"
            )
    except InvalidSignature as err:
        raise Refused("evidence-signature", "the signature is not by that key over these bytes") from err
    return Found(signer=by, statement=SIGNATURE, subjects=(str(presented.artifact),))


def _base64(text: bytes | str, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, TypeError) as err:
        raise Malformed("evidence-bundle", f"expected base64 as {what}: {str(err)[:100]}") from err
