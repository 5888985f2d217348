"""Sign a payload into a DSSE envelope, and check an envelope's signature against a key that the caller chose.

The caller says which key must have signed; the envelope's `keyid` is compared to nothing but a hint that lies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from keyturn.crypto.keys import PublicKey, canonical_signature
from keyturn.errors import Refused
from keyturn.formats.dsse import IN_TOTO, Envelope, Signature, pae

if TYPE_CHECKING:
    from securesystemslib.signer import Signer

__all__ = ["sign", "verify_all", "verify_one"]


def sign(payload: bytes, *signers: Signer) -> Envelope:
    """Sign an in-toto `payload` with each of `signers`, at least one."""
    if not signers:
        raise Refused("signature-count", "expected at least one signer, got none")
    message = pae(IN_TOTO, payload)
    made = []
    for signer in signers:
        signature = signer.sign(message)
        canonical = canonical_signature(signer.public_key.scheme, bytes.fromhex(signature.signature))
        made.append(Signature(keyid=signature.keyid, sig=canonical))
    return Envelope(payload_type=IN_TOTO, payload=payload, signatures=tuple(made))


def verify_one(envelope: Envelope, key: PublicKey) -> None:
    """Check that `envelope` carries exactly one signature, it is by `key`, and says so; or raise `Refused`."""
    if len(envelope.signatures) != 1:
        raise Refused("signature-count", f"expected exactly one signature, got {len(envelope.signatures)}")
    signature = envelope.signatures[0]
    if signature.keyid != key.keyid:
        raise Refused("signature-key", f"expected a signature by key `{key.keyid[:16]}`, got `{signature.keyid[:16]}`")
    _verify(key, signature.sig, pae(envelope.payload_type, envelope.payload))


def verify_all(envelope: Envelope, keys: tuple[PublicKey, ...]) -> None:
    """Check that each of `keys` (distinct, not empty) has signed; or raise `Refused`. Other signatures are ignored."""
    if not keys or len(set(keys)) != len(keys):
        raise Refused("signature-count", "expected at least one key, each once")
    message = pae(envelope.payload_type, envelope.payload)
    for key in keys:
        found = [signature for signature in envelope.signatures if signature.keyid == key.keyid]
        if not found:
            raise Refused("signature-missing", f"expected a signature by key `{key.keyid[:16]}`, got none")
        _verify(key, found[0].sig, message)


def _verify(key: PublicKey, signature: bytes, message: bytes) -> None:
    if canonical_signature(key.scheme, signature) != signature:
        raise Refused(
            "signature-not-canonical",
            f"signature by key `{key.keyid[:16]}`: expected its canonical encoding, got another",
        )
    key.verify(signature, message)
